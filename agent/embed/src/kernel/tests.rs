use super::{Job, Kernel, LANES, PanelStep, RowStep, STEP, TILE_ROWS, Tile, run, run_portable};

/// Products of some rows with a panel.
#[derive(Clone, Copy)]
struct Products<'a, const R: usize> {
    rows: [&'a [RowStep]; R],
    panel: &'a [PanelStep],
}

impl<const R: usize> Job for Products<'_, R> {
    type Output = Tile<R>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Tile<R> {
        // What was there before does not count.
        let mut out = [[7; LANES]; R];
        kernel.multiply(self.rows, self.panel, &mut out);
        out
    }
}

/// Values of a row or of a column, in pairs.
fn pairs(mut value: impl FnMut() -> i16, steps: usize) -> Vec<[[i16; 2]; STEP]> {
    let step = |_| [(); STEP].map(|()| [value(), value()]);
    (0..steps).map(step).collect()
}

fn check<const R: usize>(mut value: impl FnMut() -> i16, steps: usize) {
    let rows: [_; R] = [(); R].map(|()| pairs(&mut value, steps));
    let columns = [(); LANES].map(|()| pairs(&mut value, steps));
    let packed = rows.each_ref().map(|row| {
        let pack = |&[a, b]: &[i16; 2]| {
            let ([a, b], [c, d]) = (a.to_le_bytes(), b.to_le_bytes());
            u32::from_le_bytes([a, b, c, d])
        };
        let step = |step: &[[i16; 2]; STEP]| step.each_ref().map(pack);
        row.iter().map(step).collect::<Vec<RowStep>>()
    });
    let step = |at: usize| -> PanelStep {
        std::array::from_fn(|pair| columns.each_ref().map(|column| column[at][pair]))
    };
    let panel: Vec<PanelStep> = (0..steps).map(step).collect();

    let product = |row: &[[[i16; 2]; STEP]], column: &[[[i16; 2]; STEP]]| {
        let values = row.as_flattened().as_flattened().iter();
        let values = values.zip(column.as_flattened().as_flattened());
        values.fold(0_i32, |sum, (&a, &b)| {
            sum.wrapping_add(i32::from(a) * i32::from(b))
        })
    };
    let expected = rows.each_ref();
    let expected = expected.map(|row| columns.each_ref().map(|column| product(row, column)));
    let job = Products {
        rows: packed.each_ref().map(|row| &row[..]),
        panel: &panel,
    };
    assert_eq!(run(job), expected, "{R} rows, {steps} steps");
    assert_eq!(run_portable(job), expected, "{R} rows, {steps} steps");
}

#[test]
fn all_processors_compute_the_same_products() {
    let mut rng = fastrand::Rng::with_seed(1);
    for steps in 0..9 {
        let mut value = || rng.i16(..);
        check::<1>(&mut value, steps);
        check::<2>(&mut value, steps);
        check::<5>(&mut value, steps);
        check::<TILE_ROWS>(&mut value, steps);
    }
}

#[test]
fn sums_wrap_around() {
    check::<3>(|| i16::MIN, 40);
    check::<3>(|| i16::MAX, 40);
}
