// What a style sheet or picture is to a unit test: nothing.
module.exports = '';
