//! Weights in narrow types, as panels of words.
//!
//! A panel is as many columns (outputs) as a tile is wide. Behind each other lie, for every few steps along k, one word of 32 bits for each
//! column, in which these steps stand beside each other: two bf16 numbers, four bytes, eight times four bits. (Halves are the exception:
//! their two steps stand behind each other, because the instruction that widens them reads neighbours.) So a vector of words gives one
//! vector of weights for each of its steps by a shift and a conversion, nothing crosses lanes, and the same panels feed the units that
//! multiply words as they are.
//!
//! What a code stands for is its level (the code itself, or an entry of the table) times a scale, which belongs to a column and a group of
//! steps. A column without groups has one of the length of k.

use crossover_core::dtype::DType;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::palette::Palette;
use crossover_core::quantize::{Int4Groups, Int8Rows};
use half::{bf16, f16};

use crate::aligned::Aligned;

/// What a word of a panel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// One single.
    F32,
    /// Two bf16 numbers.
    Bf16,
    /// Two halves, in two rows of 16 bits.
    F16,
    /// Four signed bytes.
    Int8,
    /// Eight indices of four bits into a table.
    Nibble,
    /// Four indices of a byte into a table.
    Byte,
}

impl Code {
    /// Steps of a word.
    pub(crate) const fn steps(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 | Self::F16 => 2,
            Self::Int8 | Self::Byte => 4,
            Self::Nibble => 8,
        }
    }
}

/// A weight [n outputs, k inputs] as panels.
#[derive(Debug)]
pub(crate) struct Coded {
    pub(crate) code: Code,
    pub(crate) n: usize,
    pub(crate) k: usize,
    words: Aligned<i32>,
    /// Steps that share a scale.
    group: usize,
    /// For each panel and group a scale for each column; empty where all are one.
    scales: Aligned<f32>,
    table: Aligned<f32>,
    /// 128 times the sum of the codes of each column, for units that add 128 to the codes of A.
    corrections: Aligned<i32>,
}

/// Panels to multiply with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub(crate) code: Code,
    pub(crate) k: usize,
    pub(crate) words: *const u32,
    pub(crate) group: usize,
    pub(crate) scales: Option<&'a [f32]>,
    pub(crate) table: *const f32,
    pub(crate) corrections: &'a [i32],
}

impl<'a> Panels<'a> {
    /// Panels of singles, as plain products pack them.
    pub(crate) fn of_singles(panels: &'a [f32], k: usize) -> Self {
        let words = panels.as_ptr().cast();
        Self { code: Code::F32, k, words, group: k.max(1), scales: None, table: std::ptr::null(), corrections: &[] }
    }

    /// Words of a column.
    pub(crate) fn column_words(&self) -> usize {
        self.k.div_ceil(self.code.steps())
    }

    /// Where a panel starts.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize, width: usize) -> *const u32 {
        self.words.wrapping_add(panel * self.column_words() * width)
    }

    /// The scales of a panel: `width` for each group.
    #[inline(always)]
    pub(crate) fn scales_of(&self, panel: usize, width: usize) -> Option<*const f32> {
        self.scales.map(|scales| scales.as_ptr().wrapping_add(panel * self.k.div_ceil(self.group) * width))
    }
}

/// Puts a code of so many bits into a word.
fn put(word: &mut i32, at: usize, bits: usize, code: u32) {
    *word |= (code << (at * bits)) as i32;
}

impl Coded {
    fn new(code: Code, [n, k]: [usize; 2], width: usize) -> Result<Self> {
        let columns = n.next_multiple_of(width);
        let words = Aligned::zeros(DType::I32, columns.saturating_mul(k.div_ceil(code.steps())))?;
        let (scales, table, corrections) = (Aligned::empty(), Aligned::empty(), Aligned::empty());
        Ok(Self { code, n, k, words, group: k.max(1), scales, table, corrections })
    }

    /// Packs `code_of(output, input)`, in so many bits, for every weight.
    fn packed(mut self, width: usize, code_of: impl Fn(usize, usize) -> u32) -> Self {
        let (steps, column_words) = (self.code.steps(), self.k.div_ceil(self.code.steps()));
        for output in 0..self.n {
            let column = output / width * column_words * width + output % width;
            for input in 0..self.k {
                put(&mut self.words[column + input / steps * width], input % steps, 32 / steps, code_of(output, input));
            }
        }
        self
    }

    /// Gives each column and group its scale.
    fn scaled(mut self, width: usize, group: usize, scale_of: impl Fn(usize, usize) -> f32) -> Result<Self> {
        self.group = group.clamp(1, self.k.max(1));
        let groups = self.k.div_ceil(self.group);
        self.scales = Aligned::zeros(DType::F32, self.n.next_multiple_of(width).saturating_mul(groups))?;
        for output in 0..self.n {
            for at in 0..groups {
                self.scales[(output / width * groups + at) * width + output % width] = scale_of(output, at);
            }
        }
        Ok(self)
    }

    fn tabled(mut self, levels: impl Iterator<Item = f32>) -> Result<Self> {
        let entries = if self.code == Code::Nibble { 16 } else { 256 };
        self.table = Aligned::zeros(DType::F32, entries)?;
        self.table.iter_mut().zip(levels).for_each(|(to, level)| *to = level);
        Ok(self)
    }

    /// Values held as bf16 numbers or halves.
    pub(crate) fn halves(values: &HostTensor, dtype: DType, width: usize) -> Result<Self> {
        let &[n, k] = values.shape() else {
            return Err(shape_error("weight", format!("{:?} is not [outputs, inputs]", values.shape())));
        };
        let value = |output: usize, input: usize| values.values()[output * k + input];
        if dtype == DType::Bf16 {
            let bits = |output, input| bf16::from_f32(DType::Bf16.round(value(output, input)) as f32).to_bits();
            return Ok(Self::new(Code::Bf16, [n, k], width)?.packed(width, |output, input| u32::from(bits(output, input))));
        }
        let mut coded = Self::new(Code::F16, [n, k], width)?;
        for output in 0..n {
            let column = output % width;
            for input in 0..k {
                // Two rows of 16-bit numbers take the place of one of words.
                let word = output / width * k.div_ceil(2) * width + input / 2 * width + (input % 2 * width + column) / 2;
                let bits = f16::from_f32(DType::F16.round(value(output, input)) as f32).to_bits();
                put(&mut coded.words[word], (input % 2 * width + column) % 2, 16, u32::from(bits));
            }
        }
        Ok(coded)
    }

    /// int8 codes with one scale an output.
    pub(crate) fn int8(rows: &Int8Rows, width: usize) -> Result<Self> {
        let (n, k) = (rows.outputs, rows.inputs);
        rows.check()?;
        let coded = Self::new(Code::Int8, [n, k], width)?.packed(width, |output, input| u32::from(rows.codes[output * k + input] as u8));
        let mut coded = coded.scaled(width, k, |output, _| rows.scales[output])?;
        // Also where k is 0: the sums of nothing are taken off and scaled like any others.
        if coded.scales.is_empty() {
            coded.scales = Aligned::zeros(DType::F32, n.next_multiple_of(width))?;
        }
        coded.corrections = Aligned::zeros(DType::I32, n.next_multiple_of(width))?;
        for (output, correction) in coded.corrections.iter_mut().take(n).enumerate() {
            let sum = rows.codes[output * k..][..k].iter().fold(0i32, |sum, &code| sum.wrapping_add(i32::from(code)));
            *correction = sum.wrapping_mul(128);
        }
        Ok(coded)
    }

    /// int4 codes, one scale a group of inputs.
    pub(crate) fn int4(codes: &Int4Groups, width: usize) -> Result<Self> {
        codes.check()?;
        let (n, k, group) = (codes.outputs, codes.inputs, codes.group);
        let groups = k.div_ceil(group);
        let code = |output: usize, input: usize| u32::from(codes.codes[output * k + input] as u8 & 15);
        let coded = Self::new(Code::Nibble, [n, k], width)?.packed(width, code);
        let coded = coded.scaled(width, group, |output, at| codes.scales[output * groups + at])?;
        coded.tabled((0..16).map(|nibble: i8| f32::from((nibble << 4) >> 4)))
    }

    /// Codes of a palette: four bits where these are enough.
    pub(crate) fn palette(palette: &Palette, width: usize) -> Result<Self> {
        palette.check()?;
        let (n, k) = (palette.outputs, palette.inputs);
        let code = if palette.levels.len() <= 16 { Code::Nibble } else { Code::Byte };
        let coded = Self::new(code, [n, k], width)?.packed(width, |output, input| u32::from(palette.codes[output * k + input]));
        coded.scaled(width, k, |output, _| palette.scales[output])?.tabled(palette.levels.iter().copied())
    }

    /// Bytes of everything.
    pub(crate) fn bytes(&self) -> usize {
        let parts = [size_of_val(&*self.words), size_of_val(&*self.scales), size_of_val(&*self.table), size_of_val(&*self.corrections)];
        parts.iter().sum()
    }

    pub(crate) fn panels(&self) -> Panels<'_> {
        let scales = if self.scales.is_empty() { None } else { Some(&*self.scales) };
        Panels {
            code: self.code,
            k: self.k,
            words: self.words.as_ptr().cast(),
            group: self.group,
            scales,
            table: self.table.as_ptr(),
            corrections: &self.corrections,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_beside_each_other_in_the_words_of_their_column() {
        let rows = Int8Rows { outputs: 3, inputs: 5, codes: (1..=15).collect(), scales: vec![0.5; 3] };
        let coded = Coded::int8(&rows, 2).unwrap();
        // Panel 0: words of columns 0 and 1 for steps 0 to 3, then for step 4; panel 1 has column 2 and an empty one.
        let expected = [0x0403_0201, 0x0908_0706, 5, 10, 0x0e0d_0c0b, 0, 15, 0];
        assert_eq!(&coded.words[..], expected);
        assert_eq!(&coded.corrections[..], [128 * 15, 128 * 40, 128 * 65, 0]);
        assert_eq!(coded.bytes(), 4 * 8 + 4 * 4 + 4 * 4);
    }

    #[test]
    fn halves_of_two_steps_stand_behind_each_other() {
        let values = HostTensor::new(&[2, 2], vec![1.0, 2.0, -1.0, -2.0]).unwrap();
        let bits = |value: f32| i32::from(f16::from_f32(value).to_bits() as i16) & 0xffff;
        let coded = Coded::halves(&values, DType::F16, 2).unwrap();
        assert_eq!(&coded.words[..], [bits(1.0) | bits(-1.0) << 16, bits(2.0) | bits(-2.0) << 16]);
    }

    #[test]
    fn codes_that_do_not_fit_are_errors() {
        assert!(Coded::int8(&Int8Rows { outputs: 1, inputs: 2, codes: vec![1], scales: vec![1.0] }, 2).is_err());
        assert!(Coded::int4(&Int4Groups { outputs: 1, inputs: 1, group: 0, codes: vec![1], scales: vec![] }, 2).is_err());
    }
}
