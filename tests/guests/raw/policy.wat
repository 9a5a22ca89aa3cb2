;; A policy whose key is the body, by hand, to whose module `tests/cases/attacks/modules.rs` adds
;; sections.
(component
  (import "weir:policy/types@0.2.0" (instance $types
    (type $of-transform (variant
      (case "trim") (case "lowercase") (case "collapse-whitespace") (case "sort-list")
      (case "round-to-digits" u8)))
    (export "transform" (type $transform (eq $of-transform)))
    (type $of-source (variant
      (case "body") (case "json-field" string) (case "header" string)
      (case "query-parameter" string)))
    (export "source" (type $source (eq $of-source)))
    (type $of-key-part (record
      (field "source" $source) (field "transforms" (list $transform))))
    (export "key-part" (type $key-part (eq $of-key-part)))
    (type $of-lifetime (record
      (field "ttl-ms" u64)
      (field "jitter-percent" u8)
      (field "refresh-after-ms" (option u64))
      (field "early-refresh-percent" u16)
      (field "stale-while-revalidate-ms" (option u64))
      (field "stale-if-error-ms" (option u64))
      (field "stale-after-change-ms" (option u64))))
    (export "lifetime" (type $lifetime (eq $of-lifetime)))
    (type $of-storage (record
      (field "memory" (option $lifetime))
      (field "shared" (option $lifetime))
      (field "tags" (list string))))
    (export "storage" (type $storage (eq $of-storage)))
    (type $of-timeouts (record
      (field "soft-ms" (option u64)) (field "hard-ms" (option u64))))
    (export "timeouts" (type $timeouts (eq $of-timeouts)))
    (type $of-key-plan (record
      (field "key-epoch" u32)
      (field "key" (list $key-part))
      (field "storage" $storage)
      (field "timeouts" $timeouts)
      (field "failure-ttl-ms" (option u64))))
    (export "key-plan" (type $key-plan (eq $of-key-plan)))))
  (alias export $types "key-plan" (type $key-plan))

  (core module $module
    (memory (export "memory") 1)
    ;; Function 0 traps and function 1 does not end, if one of them is the start function.
    (func $traps unreachable)
    (func $loops (loop $forever (br $forever)))
    ;; The plan's key is one part at 1024, whose zeros mean the body. Everything else is absent.
    (data (i32.const 76) "\00\04\00\00\01\00\00\00")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
    (func (export "plan") (param i32 i32) (result i32) (i32.const 64)))

  (core instance $instance (instantiate $module))
  (func $plan
    (param "settings" (list (tuple string string)))
    (result (result $key-plan (error string)))
    (canon lift (core func $instance "plan")
      (memory (core memory $instance "memory"))
      (realloc (core func $instance "realloc"))))
  (instance $planning (export "plan" (func $plan)))
  (export "weir:policy/planning@0.2.0" (instance $planning)))
