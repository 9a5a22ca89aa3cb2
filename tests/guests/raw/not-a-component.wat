;; A core module, which is WebAssembly but not a component.
(module)
