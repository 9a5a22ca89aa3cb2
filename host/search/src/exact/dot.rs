//! Dot products with the same bits on every machine. Products are added in a fixed number of
//! lanes, and the lanes in a fixed order, without fused multiply-add; wider registers only change
//! the speed. (The loop is limited by loading the two vectors, so fusing would not make it
//! faster.)

/// Enough independent sums to hide the latency of an addition with 256-bit registers.
const LANES: usize = 32;

/// The dot product of two vectors of the same length.
#[inline]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as just checked; the function requires nothing else.
        return unsafe { dot_avx2(a, b) };
    }
    dot_portable(a, b)
}

/// The portable loop, compiled for 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_portable(a, b)
}

#[inline(always)]
fn dot_portable(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let mut sums = [0.0_f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn products_match_those_computed_by_hand() {
        let counting: Vec<f32> = (0..70_u8).map(f32::from).collect();
        let cases: [(&[f32], &[f32], f32); 4] = [
            (&[], &[], 0.0),
            (&[3.0], &[-2.0], -6.0),
            (&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 32.0),
            (&counting, &counting, 111_895.0),
        ];
        for (a, b, expected) in cases {
            assert_eq!(dot(a, b), expected);
        }
    }

    proptest! {
        #[test]
        fn every_width_of_registers_gives_the_same_bits(pairs in vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..500)) {
            let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            prop_assert_eq!(dot(&a, &b).to_bits(), dot_portable(&a, &b).to_bits());
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-4);
        }
    }
}
