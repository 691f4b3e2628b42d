//! What has been computed lately for each tenant.

use rustc_hash::FxHashMap;

/// Seconds after which service counts half. A tenant that was served alone for minutes is not to
/// wait for as long when another one comes.
const HALF_LIFE: f64 = 120.0;

/// Tenants remembered; of more, those are forgotten that got least. Who got little lately stands
/// first in any case.
const MOST_TENANTS: usize = 1024;

/// Tokens that were computed for the tenants, older ones counting less.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    /// Per tenant the count, and the moment for which it holds.
    served: FxHashMap<u64, (f64, f64)>,
}

impl Tenants {
    /// Notes that tokens were computed for a tenant.
    pub(crate) fn serve(&mut self, tenant: u64, tokens: u64, now: f64) {
        if self.served.len() >= MOST_TENANTS && !self.served.contains_key(&tenant) {
            self.forget_lesser_half(now);
        }
        let served = self.served(tenant, now) + tokens as f64;
        self.served.insert(tenant, (served, now));
    }

    /// Tokens computed for a tenant.
    pub(crate) fn served(&self, tenant: u64, now: f64) -> f64 {
        let (tokens, moment) = self.served.get(&tenant).copied().unwrap_or_default();
        tokens * (-(now - moment) / HALF_LIFE).exp2()
    }

    /// Whether there is anybody to be fair to.
    pub(crate) fn are_several(&self) -> bool {
        self.served.len() > 1
    }

    fn forget_lesser_half(&mut self, now: f64) {
        let mut counts: Vec<f64> = self.served.keys().map(|&id| self.served(id, now)).collect();
        let (_, &mut median, _) = counts.select_nth_unstable_by(MOST_TENANTS / 2, f64::total_cmp);
        let lesser: Vec<u64> = self.served.keys().copied().collect();
        for tenant in lesser {
            if self.served(tenant, now) <= median {
                self.served.remove(&tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_is_counted_and_fades() {
        let mut tenants = Tenants::default();
        tenants.serve(1, 1000, 0.0);
        assert!(!tenants.are_several());
        tenants.serve(2, 600, HALF_LIFE);
        assert_eq!(tenants.served(1, HALF_LIFE), 500.0);
        assert_eq!(tenants.served(2, 3.0 * HALF_LIFE), 150.0);
        assert_eq!(tenants.served(3, 0.0), 0.0);
    }

    #[test]
    fn memory_is_bounded_and_the_greedy_are_remembered() {
        let mut tenants = Tenants::default();
        for tenant in 0..3 * MOST_TENANTS as u64 {
            tenants.serve(tenant, 10 + tenant, 0.0);
            assert!(tenants.served.len() <= MOST_TENANTS);
        }
        assert!(tenants.served(3 * MOST_TENANTS as u64 - 1, 0.0) > 0.0);
        assert_eq!(tenants.served(0, 0.0), 0.0);
    }
}
