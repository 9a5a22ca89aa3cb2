//! A component for an older version of the WIT, both a pipeline and a policy of 0.1.0. It is
//! refused as either when it is loaded.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package weir:old@0.1.0;
            world old {
                export weir:pipeline/handler@0.1.0;
                export weir:policy/planning@0.1.0;
            }
            package weir:pipeline@0.1.0 {
                interface handler { handle: func(body: list<u8>) -> list<u8>; }
            }
            package weir:policy@0.1.0 {
                interface planning { plan: func() -> string; }
            }
        ",
        world: "weir:old/old",
        generate_all,
    });
}

struct OldVersion;

impl bindings::exports::weir::pipeline::handler::Guest for OldVersion {
    fn handle(body: Vec<u8>) -> Vec<u8> {
        body
    }
}

impl bindings::exports::weir::policy::planning::Guest for OldVersion {
    fn plan() -> String {
        String::new()
    }
}

bindings::export!(OldVersion with_types_in bindings);
