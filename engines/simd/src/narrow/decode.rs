//! From words of codes to vectors of weights.

use super::codes::{Code, Panels};
use crate::vector::Vector;

/// How one kind of code becomes numbers.
pub(super) trait Decoder: Copy {
    /// Steps of a word.
    const STEPS: usize;

    /// The levels of vector `vector` of a row of words, at one of its steps.
    ///
    /// # Safety
    /// The row must be two whole vectors of words.
    unsafe fn value<V: Vector<Element = f32>>(self, row: *const u32, vector: usize, step: usize) -> V;
}

macro_rules! decoder {
    ($name:ident, $code:ident, |$self:ident, $row:ident, $vector:ident, $step:ident| $value:expr) => {
        impl Decoder for $name {
            const STEPS: usize = Code::$code.steps();

            #[inline(always)]
            unsafe fn value<V: Vector<Element = f32>>($self, $row: *const u32, $vector: usize, $step: usize) -> V {
                // SAFETY: inside the row by the caller's promise.
                unsafe { $value }
            }
        }
    };
}

#[derive(Clone, Copy)]
pub(super) struct Singles;
decoder!(Singles, F32, |self, row, vector, _step| V::load(row.cast::<f32>().add(vector * V::LANES)));

#[derive(Clone, Copy)]
pub(super) struct Bf16s;
decoder!(Bf16s, Bf16, |self, row, vector, step| V::bf16_of_word(row.add(vector * V::LANES), step));

#[derive(Clone, Copy)]
pub(super) struct Halves;
decoder!(Halves, F16, |self, row, vector, step| V::load_f16(row.cast::<u16>().add((2 * step + vector) * V::LANES)));

#[derive(Clone, Copy)]
pub(super) struct Bytes;
decoder!(Bytes, Int8, |self, row, vector, step| V::int8_of_word(row.add(vector * V::LANES), step));

/// With its table of 16 levels.
#[derive(Clone, Copy)]
pub(super) struct Nibbles(*const f32);
decoder!(Nibbles, Nibble, |self, row, vector, step| V::level_of_nibble(row.add(vector * V::LANES), step, self.0));

/// With its table of 256 levels.
#[derive(Clone, Copy)]
pub(super) struct Levels(*const f32);
decoder!(Levels, Byte, |self, row, vector, step| V::level_of_byte(row.add(vector * V::LANES), step, self.0));

/// Something to do with a decoder.
pub(super) trait WithDecoder {
    /// Must be `#[inline(always)]`.
    fn run<D: Decoder>(self, decoder: D);
}

/// Does it with the decoder of these panels.
#[inline(always)]
pub(super) fn with_decoder(panels: &Panels<'_>, work: impl WithDecoder) {
    match panels.code {
        Code::F32 => work.run(Singles),
        Code::Bf16 => work.run(Bf16s),
        Code::F16 => work.run(Halves),
        Code::Int8 => work.run(Bytes),
        Code::Nibble => work.run(Nibbles(panels.table)),
        Code::Byte => work.run(Levels(panels.table)),
    }
}

/// One panel as singles, [k, width].
pub(super) struct Widen<'a, V> {
    pub(super) panels: &'a Panels<'a>,
    pub(super) panel: usize,
    pub(super) into: &'a mut [f32],
    pub(super) vectors: std::marker::PhantomData<V>,
}

impl<V: Vector<Element = f32>> WithDecoder for Widen<'_, V> {
    #[inline(always)]
    fn run<D: Decoder>(self, decoder: D) {
        let (panels, width) = (self.panels, 2 * V::LANES);
        let (words, scales) = (panels.panel(self.panel, width), panels.scales_of(self.panel, width));
        let (mut group, mut group_end) = (0, panels.group);
        for word in 0..panels.column_words() {
            let (row, first) = (words.wrapping_add(word * width), word * D::STEPS);
            let rest = panels.k - first;
            // Constant numbers of steps become constant shifts.
            for step in 0..D::STEPS {
                if step >= rest {
                    break;
                }
                if first + step == group_end {
                    (group, group_end) = (group + 1, group_end + panels.group);
                }
                let to = &mut self.into[(first + step) * width..][..width];
                for vector in 0..2 {
                    // SAFETY: a row of the panel and of its scales, and a row of the destination.
                    unsafe {
                        let mut value = decoder.value::<V>(row, vector, step);
                        if let Some(scales) = scales {
                            value = value.mul(V::load(scales.add(group * width + vector * V::LANES)));
                        }
                        value.store(to.as_mut_ptr().add(vector * V::LANES));
                    }
                }
            }
        }
    }
}
