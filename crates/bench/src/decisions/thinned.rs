//! Points that are too many to draw.

/// Points kept, at most: a screen is not wider.
pub(super) const MOST_POINTS: usize = 4000;

/// A list that holds at most [`MOST_POINTS`]. Of more, as many neighbours as needed become one,
/// the one that says most.
#[derive(Debug)]
pub(super) struct Thinned<T> {
    kept: Vec<T>,
    /// How many points become one.
    stride: usize,
    /// The best of the points since the last kept one, and how many they are.
    open: Option<(T, usize)>,
    /// Whether the first says more than the second.
    better: fn(&T, &T) -> bool,
}

impl<T> Thinned<T> {
    pub(super) fn new(better: fn(&T, &T) -> bool) -> Self {
        Self {
            kept: Vec::new(),
            stride: 1,
            open: None,
            better,
        }
    }

    pub(super) fn push(&mut self, point: T) {
        let (best, count) = match self.open.take() {
            None => (point, 1),
            Some((known, count)) => (self.best(known, point), count + 1),
        };
        if count < self.stride {
            self.open = Some((best, count));
            return;
        }
        self.kept.push(best);
        if self.kept.len() > MOST_POINTS {
            self.halve();
        }
    }

    /// The points, and how many became one.
    pub(super) fn finish(mut self) -> (Vec<T>, usize) {
        self.kept.extend(self.open.map(|(best, _)| best));
        (self.kept, self.stride)
    }

    fn best(&self, known: T, other: T) -> T {
        if (self.better)(&other, &known) {
            other
        } else {
            known
        }
    }

    fn halve(&mut self) {
        let mut points = std::mem::take(&mut self.kept).into_iter();
        while let Some(one) = points.next() {
            match points.next() {
                Some(two) => {
                    let best = self.best(one, two);
                    self.kept.push(best);
                }
                None => self.open = Some((one, self.stride)),
            }
        }
        self.stride *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outstanding_stay_in_order_and_their_number_is_bounded() {
        for count in [
            1,
            10,
            MOST_POINTS,
            MOST_POINTS + 1,
            3 * MOST_POINTS,
            100_000,
        ] {
            let mut thinned = Thinned::new(|a: &(usize, bool), b| a.1 && !b.1);
            for point in 0..count {
                thinned.push((point, point % 9973 == 77));
            }
            let (kept, stride) = thinned.finish();
            assert!(
                kept.len() <= MOST_POINTS + 1 && kept.len() * stride >= count,
                "{count}"
            );
            assert!(kept.is_sorted());
            let outstanding = kept.iter().filter(|(_, outstanding)| *outstanding).count();
            assert_eq!(
                outstanding,
                (0..count).filter(|point| point % 9973 == 77).count()
            );
        }
    }
}
