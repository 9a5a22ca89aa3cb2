;; A pipeline whose handler waits for a set of events to which it has added nothing. No compiler
;; produces it, as their executors notice that themselves.
(component
  (import "weir:pipeline/types@0.2.0" (instance $types
    (export "request" (type (sub resource)))
    (export "body" (type $body (sub resource)))
    (type $headers (list (tuple string (list u8))))
    (type $of-response (record
      (field "status" u16)
      (field "content-type" string)
      (field "headers" $headers)
      (field "body" (own $body))))
    (export "response" (type (eq $of-response)))
    (type $of-detail (record (field "code" string) (field "message" string)))
    (export "detail" (type $detail (eq $of-detail)))
    (type $of-failure (variant
      (case "invalid-request" $detail)
      (case "not-found" $detail)
      (case "denied" $detail)
      (case "unavailable" $detail)
      (case "timed-out" $detail)
      (case "failed" $detail)))
    (export "failure" (type (eq $of-failure)))))
  (alias export $types "request" (type $request))
  (alias export $types "response" (type $response))
  (alias export $types "failure" (type $failure))

  (core module $module
    (import "host" "waitable-set.new" (func $new-set (result i32)))
    ;; Function 1 traps and function 2 does not end, if one of them is the start function, which
    ;; `tests/cases/attacks/modules.rs` adds.
    (func $traps unreachable)
    (func $loops (loop $forever (br $forever)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    ;; Returns WAIT, with the set that it waits for.
    (func (export "handle") (param i32) (result i32)
      (i32.or (i32.const 2) (i32.shl (call $new-set) (i32.const 4))))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))

  (core func $new-set (canon waitable-set.new))
  (core instance $instance (instantiate $module
    (with "host" (instance (export "waitable-set.new" (func $new-set))))))
  (func $handle async
    (param "request" (own $request))
    (result (result $response (error $failure)))
    (canon lift (core func $instance "handle")
      async
      (memory (core memory $instance "memory"))
      (realloc (core func $instance "realloc"))
      (callback (core func $instance "callback"))))
  (instance $handler (export "handle" (func $handle)))
  (export "weir:pipeline/handler@0.2.0" (instance $handler)))
