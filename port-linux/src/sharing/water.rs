//! Max-min fairness: who wants little gets it whole, and the others get the same each.

/// Sharing `capacity` among those that want so much each: the most that anybody gets. If there is enough for all, that is what one of them
/// could have who takes all that is left. `wants` is sorted.
pub fn level(capacity: f64, wants: &mut [f64]) -> f64 {
    wants.sort_unstable_by(f64::total_cmp);
    let (mut left, mut most) = (capacity, 0.0);
    for (place, want) in wants.iter().enumerate() {
        #[allow(clippy::cast_precision_loss, reason = "connections")]
        let others = (wants.len() - place) as f64;
        if want * others >= left {
            return left / others;
        }
        left -= want;
        most = *want;
    }
    most + left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by trying: a little for everybody who is not full, again and again.
    fn poured(capacity: f64, wants: &[f64]) -> Vec<f64> {
        let drop = capacity / 100_000.0;
        let (mut got, mut left) = (vec![0.0; wants.len()], capacity);
        loop {
            let thirsty: Vec<usize> = (0..wants.len()).filter(|at| got[*at] + drop <= wants[*at]).collect();
            if thirsty.is_empty() || left < drop * thirsty.len() as f64 {
                return got;
            }
            for at in thirsty {
                got[at] += drop;
                left -= drop;
            }
        }
    }

    #[test]
    fn each_gets_what_pouring_drop_by_drop_gives_it() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..40 {
            let wants: Vec<f64> = (0..random.usize(1..20))
                .map(|_| random.f64() * [1.0, 10.0, 100.0][random.usize(..3)])
                .collect();
            let capacity = 1.0 + random.f64() * 100.0;
            let level = level(capacity, &mut wants.clone());
            for (want, poured) in wants.iter().zip(poured(capacity, &wants)) {
                let got = want.min(level);
                assert!(
                    (got - poured).abs() < capacity / 1_000.0,
                    "{wants:?} of {capacity}: {got}, {poured}"
                );
            }
        }
    }

    #[test]
    fn what_is_left_may_be_taken_by_one_and_who_wants_all_gets_a_share() {
        assert!((level(10.0, &mut [1.0, 2.0]) - 9.0).abs() < 1e-9);
        assert!((level(10.0, &mut []) - 10.0).abs() < 1e-9);
        assert!((level(10.0, &mut [f64::INFINITY]) - 10.0).abs() < 1e-9);
        assert!((level(10.0, &mut [f64::INFINITY, 1.0, f64::INFINITY]) - 4.5).abs() < 1e-9);
    }
}
