//! Transforms of key parts. The guest receives the transformed part, so it cannot tell apart two
//! requests that have the same key.

use std::borrow::Cow;

use weir_bindings::policy::weir::policy::types::Transform;

/// Applies `transforms` to a JSON value's canonical text, in order. A transform leaves values of
/// other types unchanged.
pub(super) fn json<'a>(value: &'a [u8], transforms: &[Transform]) -> Cow<'a, [u8]> {
    transforms.iter().fold(Cow::Borrowed(value), |value, transform| {
        match one_json(&value, *transform) {
            Some(changed) => Cow::Owned(changed),
            None => value,
        }
    })
}

/// Applies `transforms` to a header's or a query parameter's text, in order.
pub(super) fn text<'a>(value: &'a str, transforms: &[Transform]) -> Cow<'a, str> {
    transforms.iter().fold(Cow::Borrowed(value), |value, transform| match transform {
        Transform::SortList => {
            let mut items: Vec<_> = value.split(',').map(str::trim).collect();
            items.sort_unstable();
            Cow::Owned(items.join(","))
        }
        Transform::RoundToDigits(digits) => match rounded(&value, *digits) {
            Some(number) => Cow::Owned(number),
            None => value,
        },
        Transform::Trim | Transform::Lowercase | Transform::CollapseWhitespace => {
            Cow::Owned(words(&value, *transform))
        }
    })
}

fn one_json(value: &[u8], transform: Transform) -> Option<Vec<u8>> {
    match (transform, value.first()?) {
        (Transform::SortList, b'[') => {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_slice(value).ok()?;
            let mut items: Vec<&str> = items.into_iter().map(|item| item.get()).collect();
            items.sort_unstable();
            Some(format!("[{}]", items.join(",")).into_bytes())
        }
        (Transform::RoundToDigits(digits), b'-' | b'0'..=b'9') => {
            rounded(std::str::from_utf8(value).ok()?, digits).map(String::into_bytes)
        }
        (Transform::Trim | Transform::Lowercase | Transform::CollapseWhitespace, b'"') => {
            let text: String = serde_json::from_slice(value).ok()?;
            serde_json::to_vec(&words(&text, transform)).ok()
        }
        _ => None,
    }
}

fn words(text: &str, transform: Transform) -> String {
    match transform {
        Transform::Trim => text.trim().to_owned(),
        Transform::Lowercase => text.to_lowercase(),
        _ => text.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// `number` rounded to `digits` decimals, at most 15. `None` for anything that is not a number,
/// and for numbers of 2⁵³ or more, whose integers a double cannot tell apart: rounding must not
/// merge different numbers of that size.
fn rounded(number: &str, digits: u8) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value: f64 = number.parse().ok()?;
    if !value.is_finite() || value.abs() >= EXACT {
        return None;
    }
    let rounded = format!("{value:.*}", usize::from(digits.min(15)));
    // "-0" and "0" are the same number.
    Some(if rounded.trim_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_values_are_normalised_where_the_transform_applies() {
        let cases = [
            (r#"" a B ""#, Transform::Trim, r#""a B""#),
            (r#""ÄB""#, Transform::Lowercase, r#""äb""#),
            (r#""a  b\n c""#, Transform::CollapseWhitespace, r#""a b c""#),
            (r#"["b","a",1]"#, Transform::SortList, r#"["a","b",1]"#),
            ("1.2345", Transform::RoundToDigits(2), "1.23"),
            ("-0.001", Transform::RoundToDigits(1), "0"),
            ("9007199254740993", Transform::RoundToDigits(1), "9007199254740993"),
            ("true", Transform::Lowercase, "true"),
            (r#""1.25""#, Transform::RoundToDigits(1), r#""1.25""#),
        ];
        for (value, transform, expected) in cases {
            let got = json(value.as_bytes(), &[transform]);
            assert_eq!(String::from_utf8_lossy(&got), expected, "{value} {transform:?}");
        }
    }

    #[test]
    fn texts_are_normalised_in_order() {
        let transforms = [Transform::Lowercase, Transform::SortList];
        assert_eq!(text("EN, de", &transforms), "de,en");
        assert_eq!(text("1.26", &[Transform::RoundToDigits(1)]), "1.3");
        assert_eq!(text("x", &[Transform::RoundToDigits(1)]), "x");
    }
}
