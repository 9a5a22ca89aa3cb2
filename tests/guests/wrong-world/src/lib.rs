//! A valid component for another host: it exports a greeting, but neither a pipeline nor a policy.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package other:host;
            world greeter { export greet: func() -> string; }
        ",
        world: "other:host/greeter",
    });
}

struct WrongWorld;

impl bindings::Guest for WrongWorld {
    fn greet() -> String {
        "hello".into()
    }
}

bindings::export!(WrongWorld with_types_in bindings);
