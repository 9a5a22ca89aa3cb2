//! Components that no compiler produces, in their binary form: ones that take long to compile, or much memory,
//! and ones that carry another manifest.
//!
//! Out of scope: components that are compiled, which are the crates of `tests/guests/`.

/// What a module begins with.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// What a component begins with.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// The id of a custom section.
const CUSTOM: u8 = 0;
/// The id of a component's section that has a module.
const CORE_MODULE: u8 = 1;
/// The name of the section that has a plugin's manifest.
const MANIFEST: &str = "weir:manifest";

/// A component with so many functions that do so much each, which nothing calls. Compiling takes time for all of
/// them, and memory for the longest one.
#[must_use]
pub fn bomb(functions: usize, repeated: usize) -> Vec<u8> {
    // local.get 0, local.get 1, i32.mul, local.tee 1, local.get 0, i32.add, local.set 0
    let some = [0x20, 0, 0x20, 1, 0x6c, 0x22, 1, 0x20, 0, 0x6a, 0x21, 0];
    // No other locals; at the end local.get 0.
    let body = [&[0][..], &some.repeat(repeated), &[0x20, 0, 0x0b]].concat();
    let body = [number(body.len()), body].concat();
    let count = number(functions);
    let module = [
        MODULE.to_vec(),
        // (type (func (param i32 i32) (result i32)))
        section(1, &[1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f]),
        section(3, &[count.clone(), vec![0; functions]].concat()),
        section(10, &[count, body.repeat(functions)].concat()),
    ];
    [COMPONENT.to_vec(), section(CORE_MODULE, &module.concat())].concat()
}

/// A plugin: a component, which has no manifest, with this one.
#[must_use]
pub fn with_manifest(component: &[u8], manifest: &str) -> Vec<u8> {
    let content = [&number(MANIFEST.len()), MANIFEST.as_bytes(), manifest.as_bytes()].concat();
    [component, &section(CUSTOM, &content)].concat()
}

/// A section of a module or a component.
#[must_use]
pub fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &number(content.len()), content].concat()
}

/// A number as in the binary format: unsigned LEB128.
#[must_use]
pub fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_must_be() {
        for (value, expected) in
            [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 1]), (300, &[0xac, 2])]
        {
            assert_eq!(number(value), expected, "{value}");
        }
    }

    #[test]
    fn a_manifest_is_the_last_section() {
        let plugin = with_manifest(COMPONENT, "a = 1");
        assert_eq!(plugin, [COMPONENT, &[0, 19, 13], b"weir:manifesta = 1"].concat());
    }
}
