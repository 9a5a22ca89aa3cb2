//! What `wit-bindgen` generates from `wit/`, one module for each world, and nothing else. Each
//! hook of a policy is a world of its own, so that a policy exports exactly the hooks that it
//! names.
#![allow(missing_docs, unreachable_pub, reason = "generated")]

pub mod pipeline {
    wit_bindgen::generate!({
        path: "wit",
        world: "weir:worlds/pipeline",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_pipeline",
        default_bindings_module: "weir_sdk::bindings::pipeline",
    });
}

pub mod planning {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package weir:sdk; world planning { export weir:policy/planning@0.2.0; }",
        world: "weir:sdk/planning",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_planning",
        default_bindings_module: "weir_sdk::bindings::planning",
    });
}

pub mod keying {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package weir:sdk; world keying { export weir:policy/keying@0.2.0; }",
        world: "weir:sdk/keying",
        with: { "weir:policy/types@0.2.0": crate::bindings::planning::weir::policy::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_keying",
        default_bindings_module: "weir_sdk::bindings::keying",
    });
}

pub mod admission {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package weir:sdk; world admission { export weir:policy/admission@0.2.0; }",
        world: "weir:sdk/admission",
        with: { "weir:policy/types@0.2.0": crate::bindings::planning::weir::policy::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_admission",
        default_bindings_module: "weir_sdk::bindings::admission",
    });
}

pub mod failures {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package weir:sdk; world failures { export weir:policy/failures@0.2.0; }",
        world: "weir:sdk/failures",
        with: { "weir:policy/types@0.2.0": crate::bindings::planning::weir::policy::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_failures",
        default_bindings_module: "weir_sdk::bindings::failures",
    });
}

pub mod changes {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package weir:sdk; world changes { export weir:policy/changes@0.2.0; }",
        world: "weir:sdk/changes",
        with: { "weir:policy/types@0.2.0": crate::bindings::planning::weir::policy::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_changes",
        default_bindings_module: "weir_sdk::bindings::changes",
    });
}
