// What a style sheet or picture is to a unit test: next to nothing.
module.exports = '<svg></svg>';
