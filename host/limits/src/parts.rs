//! Divides an amount once, among those who are known from the start: the memory of a cache among tenants.
//!
//! Nobody's part depends on what the others do with theirs, so nobody can notice it either. Out of scope:
//! amounts of which unused parts are lent ([`shares`](crate::shares)).

/// Somebody who gets a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How large the part is compared with others that are not fixed.
    pub weight: u32,
    /// The part itself, if it is fixed.
    pub fixed: Option<u64>,
}

/// The part of each claim: what is fixed, and of the rest as much as its weight says. If more is fixed than
/// there is, the rest is nothing.
#[must_use]
pub fn divide(total: u64, claims: &[Claim]) -> Vec<u64> {
    let fixed = claims.iter().filter_map(|claim| claim.fixed).fold(0, u64::saturating_add);
    let rest = u128::from(total.saturating_sub(fixed));
    let weights = claims.iter().filter(|claim| claim.fixed.is_none());
    let weights: u128 = weights.map(|claim| u128::from(claim.weight)).sum();
    let part = |claim: &Claim| match claim.fixed {
        Some(fixed) => fixed,
        // At most the rest, which fits.
        None => u64::try_from(rest * u128::from(claim.weight) / weights.max(1)).unwrap_or(u64::MAX),
    };
    claims.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(weight: u32, fixed: Option<u64>) -> Claim {
        Claim { weight, fixed }
    }

    #[test]
    fn what_is_not_fixed_is_divided_by_weight() {
        for (total, claims, expected) in [
            (100, vec![claim(1, None)], vec![100]),
            (100, vec![claim(1, None), claim(3, None)], vec![25, 75]),
            (100, vec![claim(9, Some(40)), claim(1, None), claim(2, None)], vec![40, 20, 40]),
            (100, vec![claim(1, Some(0)), claim(1, None)], vec![0, 100]),
            (100, vec![claim(1, Some(70)), claim(1, Some(70)), claim(1, None)], vec![70, 70, 0]),
            (u64::MAX, vec![claim(1_000, None), claim(1_000, None)], vec![u64::MAX / 2; 2]),
            (0, vec![claim(1, None)], vec![0]),
            (100, vec![], vec![]),
        ] {
            assert_eq!(divide(total, &claims), expected, "{total} {claims:?}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_no_more_than_there_is_and_nearly_all_of_it(
            total in any::<u64>(),
            weights in prop::collection::vec(1_u32..=1_000, 1..50),
        ) {
            let claims: Vec<_> = weights.iter().map(|weight| claim(*weight, None)).collect();
            let sum: u128 = divide(total, &claims).into_iter().map(u128::from).sum();
            prop_assert!(sum <= u128::from(total));
            prop_assert!(u128::from(total) - sum < claims.len() as u128);
        }
    }
}
