// What browsers have and jsdom lacks.
const { TextDecoder, TextEncoder } = require('util');

globalThis.TextDecoder ??= TextDecoder;
globalThis.TextEncoder ??= TextEncoder;
globalThis.DragEvent ??= class DragEvent extends Event {};
globalThis.ResizeObserver ??= class ResizeObserver {
  observe() {}
  unobserve() {}
  disconnect() {}
};
globalThis.Request ??= class Request {
  constructor(url, init) {
    Object.assign(this, { url, ...init });
  }
};
globalThis.Headers ??= class Headers extends Map {
  append(name, value) {
    this.set(name, value);
  }
};
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
