;; A core module, which is WebAssembly but no component.
(module)
