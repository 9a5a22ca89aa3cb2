//! A good component for another host: it exports a greeting, and neither role of Weir's.

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
