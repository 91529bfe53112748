//! Tiles in plain code, by their definition: what is packed and cut for them is tested on machines that have none. Where a machine has
//! tiles, they are held to the same results.

use std::marker::PhantomData;

use crossover_core::activation::Activation;
use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::quantize::Int8Rows;
use half::bf16;

use super::*;
use crate::isa::{Extras, Isa, Kernel};
use crate::narrow::codes::Coded;
use crate::narrow::matrix::Kind;
use crate::narrow::micro::{Maker, MicroKernel};
use crate::narrow::part::{Part, ShapeOf};
use crate::narrow::unit::Choice;
use crate::narrow::{Product, Right};

/// A tile: 16 rows of a word for each lane, or of 16 words for tiles of A.
type Tile = [[u32; TILE]; TILE];

/// # Safety
/// 16 rows of so many words must be readable.
unsafe fn load(from: *const u32, distance: usize, words: usize) -> Tile {
    // SAFETY: the caller's promise.
    std::array::from_fn(|row| std::array::from_fn(|at| if at < words { unsafe { *from.add(row * distance + at) } } else { 0 }))
}

/// c + a b for tiles of words.
pub(crate) trait Arithmetic {
    const WORD: Word;
    /// A row of a with a column of b, 16 words each.
    fn add(c: u32, a: &[u32; TILE], b: &[u32; TILE]) -> u32;
}

struct Codes;

impl Arithmetic for Codes {
    const WORD: Word = Word::Int8;

    fn add(c: u32, a: &[u32; TILE], b: &[u32; TILE]) -> u32 {
        let products = a.iter().zip(b).flat_map(|(a, b)| a.to_le_bytes().into_iter().zip(b.to_le_bytes()));
        products.fold(c as i32, |sum, (a, b)| sum.wrapping_add(i32::from(a as i8) * i32::from(b as i8))) as u32
    }
}

pub(crate) struct Pairs;

impl Arithmetic for Pairs {
    const WORD: Word = Word::Bf16;

    fn add(c: u32, a: &[u32; TILE], b: &[u32; TILE]) -> u32 {
        let normal = |value: f32| if value.is_subnormal() { 0.0f32.copysign(value) } else { value };
        let number = |word: u32, at: usize| normal(f32::from_bits(word >> (16 * at) << 16));
        let [even, odd] = [0, 1].map(|at| a.iter().zip(b).fold(0.0f32, |sum, (&a, &b)| normal(number(a, at).mul_add(number(b, at), sum))));
        normal(normal(f32::from_bits(c)) + normal(even + odd)).to_bits()
    }
}

/// Tiles as wide as a vector has lanes.
pub(crate) struct Model<V, A>(PhantomData<(V, A)>);

impl<V: Vector<Element = f32>, A: Arithmetic> Format for Model<V, A> {
    type V = V;
    const WORD: Word = A::WORD;
}

impl<V: Vector<Element = f32>, A: Arithmetic> Tiles for Model<V, A> {
    type Ready = ();

    fn ready() {}

    unsafe fn products<const HEIGHT: usize>(operands: &Operands, sums: *mut u32) {
        let (lanes, width, [a_row, a_step]) = (V::LANES, 2 * V::LANES, operands.a_strides);
        for (high, side) in (0..HEIGHT).flat_map(|high| [(high, 0), (high, 1)]) {
            let mut c: Tile = [[0; TILE]; TILE];
            let whole = (0..operands.steps).map(|step| operands.b.wrapping_add(step * TILE * width));
            let last = Some(operands.last).filter(|last| !last.is_null());
            for (step, b) in whole.chain(last).enumerate() {
                // SAFETY: the caller's promises.
                let (a, b) = unsafe { (load(operands.a[high].add(step * a_step), a_row, TILE), load(b.add(side * lanes), width, lanes)) };
                for (row, lane) in (0..TILE).flat_map(|row| (0..lanes).map(move |lane| (row, lane))) {
                    c[row][lane] = A::add(c[row][lane], &a[row], &std::array::from_fn(|word| b[word][lane]));
                }
            }
            for (row, lane) in (0..TILE).flat_map(|row| (0..lanes).map(move |lane| (row, lane))) {
                // SAFETY: likewise.
                unsafe { *sums.add((high * TILE + row) * width + side * lanes + lane) = c[row][lane] };
            }
        }
    }
}

struct OnModel<A, K>(K, PhantomData<A>);

impl<A: Arithmetic, K: MicroKernel> Kernel<f32> for OnModel<A, K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) -> K::Output {
        self.0.run::<ByTiles<Model<V, A>>>()
    }
}

/// The model on vectors of this path, or the machine's own unit.
#[derive(Debug, Clone, Copy)]
enum On {
    Model(Isa),
    Machine(Isa),
}

impl On {
    /// The model on every path of this machine.
    fn models() -> impl Iterator<Item = Self> {
        let vectors = IsaChoice::ALL.into_iter().filter(|&choice| choice != IsaChoice::Amx);
        vectors.filter_map(|choice| Isa::chosen(choice).ok()).map(Self::Model)
    }

    fn run<A: Arithmetic, K: MicroKernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Model(isa) => isa.run(OnModel::<A, K>(kernel, PhantomData)),
            Self::Machine(isa) => {
                let choice = if A::WORD == Word::Bf16 { Choice::bf16 } else { Choice::int8 };
                let extras = Extras::of(isa, IsaChoice::Auto);
                let maker = Maker::of(choice(isa, extras), extras, usize::MAX);
                assert!(!matches!(maker, Maker::Vectors(_)), "{maker:?}");
                maker.run(isa, kernel)
            }
        }
    }

    /// Columns of a panel.
    fn width(self) -> usize {
        self.run::<Pairs, _>(ShapeOf).columns
    }

    /// Rows and columns of C, beginning at `skipped`.
    fn multiply<A: Arithmetic>(self, product: &Product<Right<'_>>, skipped: [usize; 2]) {
        let (rows, columns) = (skipped[0]..product.m, skipped[1]..product.n);
        let counts = self.run::<A, _>(ShapeOf).scratch(product, rows.len(), columns.len());
        // What stands in scratch before is not to matter: here NaN in every type.
        let [mut a, mut b] = counts.map(|count| vec![u32::MAX; count]);
        self.run::<A, _>(Part { product, rows, columns, scratch: (&mut a, &mut b) });
    }
}

fn matrix<T>(kind: Kind, values: &[T], strides: [usize; 2]) -> Matrix {
    Matrix::at((kind, values.as_ptr().cast_mut().cast()), 0, strides)
}

fn product<R>([m, n, k]: [usize; 3], a: Matrix, right: R, c: &mut [f32]) -> Product<R> {
    assert_eq!(c.len(), m * n);
    let c = Matrix::at((Kind::F32, c.as_mut_ptr().cast()), 0, [n, 1]);
    Product { m, n, k, a, right, c, alpha: 1.0, beta: 0.0, bias: None, activation: Activation::None }
}

/// Whole numbers from -most to most, by a linear congruential generator.
fn numbers(seed: usize, count: usize, most: i64) -> Vec<i64> {
    let mut state = seed as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64 % (2 * most + 1) - most
    };
    (0..count).map(|_| next()).collect()
}

const SHAPES: [[usize; 3]; 15] = [
    [1, 1, 1],
    [1, 33, 64],
    [5, 2, 3],
    [16, 32, 32],
    [16, 31, 31],
    [17, 33, 33],
    [32, 32, 64],
    [32, 64, 65],
    [33, 65, 63],
    [48, 16, 128],
    [70, 40, 100],
    [31, 100, 129],
    [65, 3, 260],
    [3, 4, 0],
    [100, 70, 34],
];

/// Sums of products of small whole numbers are exact in f32 whatever their order.
fn bf16_products_of_whole_numbers_are_exact(on: On) {
    for [m, n, k] in SHAPES {
        let (a, b) = (numbers(m + n, m * k, 100), numbers(n + k, n * k, 100));
        let bits = |values: &[i64]| values.iter().map(|&value| bf16::from_f32(value as f32)).collect::<Vec<_>>();
        let (a_bits, b_bits) = (bits(&a), bits(&b));
        let expected: Vec<f32> =
            (0..m * n).map(|at| (0..k).map(|step| a[at / n * k + step] * b[at % n * k + step]).sum::<i64>() as f32).collect();
        let a_matrix = matrix(Kind::Bf16, &a_bits, [k, 1]);

        let values = HostTensor::new(&[n, k], b.iter().map(|&value| value as f64).collect()).unwrap();
        let weight = Coded::halves(&values, DType::Bf16, on.width()).unwrap();
        let mut c = vec![f32::NAN; m * n];
        on.multiply::<Pairs>(&product([m, n, k], a_matrix, Right::Panels(weight.panels()), &mut c), [0, 0]);
        assert_eq!(c, expected, "{on:?} {m} {n} {k}, weight");

        let dense_along_n: Vec<bf16> = (0..k * n).map(|at| b_bits[at % n * k + at / n]).collect();
        for (plain, name) in [(matrix(Kind::Bf16, &b_bits, [1, k]), "k"), (matrix(Kind::Bf16, &dense_along_n, [n, 1]), "n")] {
            c.fill(f32::NAN);
            on.multiply::<Pairs>(&product([m, n, k], a_matrix, Right::Plain(plain), &mut c), [0, 0]);
            assert_eq!(c, expected, "{on:?} {m} {n} {k}, B dense along {name}");
        }
    }
}

fn bf16_sums_err_by_their_roundings_only(on: On) {
    for [m, n, k] in [[33, 33, 257], [16, 5, 1000]] {
        let of = |seed, count| numbers(seed, count, 1 << 20).into_iter().map(|value| bf16::from_f32(value as f32 / 1000.0));
        let (a, b): (Vec<bf16>, Vec<bf16>) = (of(1, m * k).collect(), of(2, n * k).collect());
        let mut c = vec![f32::NAN; m * n];
        let plain = Right::Plain(matrix(Kind::Bf16, &b, [1, k]));
        on.multiply::<Pairs>(&product([m, n, k], matrix(Kind::Bf16, &a, [k, 1]), plain, &mut c), [0, 0]);
        for (at, &sum) in c.iter().enumerate() {
            let terms = (0..k).map(|step| a[at / n * k + step].to_f64() * b[at % n * k + step].to_f64());
            let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            let bound = k as f64 * f64::from(f32::EPSILON) / 2.0 * size;
            assert!((f64::from(sum) - exact).abs() <= bound, "{on:?} {m} {n} {k} at {at}: {sum} for {exact}");
        }
    }
}

/// Rows whose largest entry is 127 are their own codes.
fn int8_products_are_exact(on: On) {
    for [m, n, k] in SHAPES {
        let (mut a, b) = (numbers(m, m * k, 127), numbers(k, n * k, 127));
        a.iter_mut().step_by(k.max(1)).for_each(|first| *first = 127);
        let rows = Int8Rows {
            outputs: n,
            inputs: k,
            codes: b.iter().map(|&code| code as i8).collect(),
            scales: (0..n).map(|output| 0.5 + output as f32).collect(),
        };
        let expected: Vec<f32> = (0..m * n)
            .map(|at| (0..k).map(|step| a[at / n * k + step] * b[at % n * k + step]).sum::<i64>() as f32 * rows.scales[at % n])
            .collect();
        let singles: Vec<f32> = a.iter().map(|&value| value as f32).collect();
        let weight = Coded::int8(&rows, on.width()).unwrap();
        let mut c = vec![f32::NAN; m * n];
        let right = Right::Panels(weight.panels());
        on.multiply::<Codes>(&product([m, n, k], matrix(Kind::F32, &singles, [k, 1]), right, &mut c), [0, 0]);
        assert_eq!(c, expected, "{on:?} {m} {n} {k}");
    }
}

/// A part begins at a panel, and writes nothing outside.
fn a_part_makes_its_rows_and_columns_only(on: On) {
    let (width, [m, k]) = (on.width(), [50, 40]);
    let n = 2 * width + 1;
    let ones = vec![bf16::ONE; m.max(n) * k];
    let mut c = vec![-1.0; m * n];
    let plain = Right::Plain(matrix(Kind::Bf16, &ones, [1, k]));
    on.multiply::<Pairs>(&product([m, n, k], matrix(Kind::Bf16, &ones, [k, 1]), plain, &mut c), [32, width]);
    for (at, &value) in c.iter().enumerate() {
        let inside = at / n >= 32 && at % n >= width;
        assert_eq!(value, if inside { k as f32 } else { -1.0 }, "{on:?} row {} column {}", at / n, at % n);
    }
}

/// The panel behind the last step of a panel is not read as if it were part of it.
fn what_stands_behind_a_panel_does_not_matter(on: On) {
    let (width, [m, k]) = (on.width(), [20, 35]);
    let n = 2 * width;
    let values = (0..n * k).map(|at| if at / k < width { 1.0 } else { f64::INFINITY }).collect();
    let weight = Coded::halves(&HostTensor::new(&[n, k], values).unwrap(), DType::Bf16, width).unwrap();
    let ones = vec![bf16::ONE; m * k];
    let mut c = vec![f32::NAN; m * n];
    on.multiply::<Pairs>(&product([m, n, k], matrix(Kind::Bf16, &ones, [k, 1]), Right::Panels(weight.panels()), &mut c), [0, 0]);
    let expected: Vec<f32> = (0..m * n).map(|at| if at % n < width { k as f32 } else { f32::INFINITY }).collect();
    assert_eq!(c, expected, "{on:?}");
}

const CHECKS: [fn(On); 5] = [
    bf16_products_of_whole_numbers_are_exact,
    bf16_sums_err_by_their_roundings_only,
    int8_products_are_exact,
    a_part_makes_its_rows_and_columns_only,
    what_stands_behind_a_panel_does_not_matter,
];

#[test]
fn products_by_the_model_are_right() {
    On::models().for_each(|on| CHECKS.iter().for_each(|check| check(on)));
}

/// Prints what it has done: where there are no tiles, that is nothing.
#[test]
fn products_by_the_machine_are_right() {
    let isa = Isa::best();
    if Extras::of(isa, IsaChoice::Auto).amx {
        CHECKS.iter().for_each(|check| check(On::Machine(isa)));
        println!("amx ok: {} checks, {} shapes", CHECKS.len(), SHAPES.len());
    } else {
        println!("no tiles that this process may use");
    }
}
