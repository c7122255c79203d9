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
globalThis.fetch ??= () => Promise.reject(new TypeError('a unit test has no network'));
globalThis.Headers ??= class Headers extends Map {
  append(name, value) {
    this.set(name, value);
  }
};
globalThis.Request ??= class Request {
  constructor(url, init) {
    Object.assign(this, { ...init, url, headers: new Headers() });
  }
};
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
globalThis.matchMedia ??= () => ({ matches: false, addListener() {}, removeListener() {} });
// Looked up at each call, so that faked timers drive it, too.
globalThis.requestAnimationFrame = callback => setTimeout(callback, 0);
