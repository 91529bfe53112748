//! Blocks of a matrix turned over by shuffles.

use std::arch::x86_64::*;

/// A block of 4 x 4 with the instructions that every x86-64 has.
#[inline(always)]
pub(super) unsafe fn four_singles(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller promises four rows of four elements on both sides.
    unsafe {
        let [a, b, c, d] = [0, 1, 2, 3].map(|row| _mm_loadu_ps(from.add(row * from_row)));
        let (low_ab, high_ab) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (low_cd, high_cd) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        _mm_storeu_ps(to, _mm_movelh_ps(low_ab, low_cd));
        _mm_storeu_ps(to.add(to_row), _mm_movehl_ps(low_cd, low_ab));
        _mm_storeu_ps(to.add(2 * to_row), _mm_movelh_ps(high_ab, high_cd));
        _mm_storeu_ps(to.add(3 * to_row), _mm_movehl_ps(high_cd, high_ab));
    }
}

/// Likewise, as four blocks of 2 x 2.
#[inline(always)]
pub(super) unsafe fn four_doubles(from: *const f64, from_row: usize, to: *mut f64, to_row: usize) {
    for (row, column) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
        // SAFETY: the caller promises four rows of four elements on both sides.
        unsafe {
            let from = from.add(row * from_row + column);
            let to = to.add(column * to_row + row);
            let (a, b) = (_mm_loadu_pd(from), _mm_loadu_pd(from.add(from_row)));
            _mm_storeu_pd(to, _mm_unpacklo_pd(a, b));
            _mm_storeu_pd(to.add(to_row), _mm_unpackhi_pd(a, b));
        }
    }
}

/// A block of 16 x 16: pairs of rows and then of pairs are interleaved within each quarter of the vectors, which makes blocks of 4 x 4 that
/// are turned over; the quarters themselves change places in the two steps after.
///
/// # Safety
/// 16 elements from the start of each of 16 rows must be readable in one matrix and writable in the other, and AVX-512 be there.
#[inline(always)]
pub(super) unsafe fn sixteen_singles(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); 16];
        for (at, row) in rows.iter_mut().enumerate() {
            *row = _mm512_loadu_ps(from.add(at * from_row));
        }
        for four in rows.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = *four;
            let (low_ab, high_ab) = (_mm512_castps_pd(_mm512_unpacklo_ps(a, b)), _mm512_castps_pd(_mm512_unpackhi_ps(a, b)));
            let (low_cd, high_cd) = (_mm512_castps_pd(_mm512_unpacklo_ps(c, d)), _mm512_castps_pd(_mm512_unpackhi_ps(c, d)));
            let columns = [
                _mm512_unpacklo_pd(low_ab, low_cd),
                _mm512_unpackhi_pd(low_ab, low_cd),
                _mm512_unpacklo_pd(high_ab, high_cd),
                _mm512_unpackhi_pd(high_ab, high_cd),
            ];
            *four = columns.map(|column| _mm512_castpd_ps(column));
        }
        for column in 0..4 {
            // Quarter q of `[a, b, c, d]` is column 4 q + `column` of rows 0.., 4.., 8.. and 12..
            let [a, b, c, d] = [rows[column], rows[4 + column], rows[8 + column], rows[12 + column]];
            let (even_ab, odd_ab) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let (even_cd, odd_cd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            _mm512_storeu_ps(to.add(column * to_row), _mm512_shuffle_f32x4::<0x88>(even_ab, even_cd));
            _mm512_storeu_ps(to.add((4 + column) * to_row), _mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd));
            _mm512_storeu_ps(to.add((8 + column) * to_row), _mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd));
            _mm512_storeu_ps(to.add((12 + column) * to_row), _mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd));
        }
    }
}

/// A block of 8 x 8, likewise: pairs of rows, then quarters.
///
/// # Safety
/// As [`sixteen_singles`], with 8.
#[inline(always)]
pub(super) unsafe fn eight_doubles(from: *const f64, from_row: usize, to: *mut f64, to_row: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut rows = [_mm512_setzero_pd(); 8];
        for (at, row) in rows.iter_mut().enumerate() {
            *row = _mm512_loadu_pd(from.add(at * from_row));
        }
        for two in rows.as_chunks_mut::<2>().0 {
            let [a, b] = *two;
            *two = [_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b)];
        }
        for column in 0..2 {
            // Quarter q of `[a, b, c, d]` is column 2 q + `column` of rows 0.., 2.., 4.. and 6..
            let [a, b, c, d] = [rows[column], rows[2 + column], rows[4 + column], rows[6 + column]];
            let (even_ab, odd_ab) = (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
            let (even_cd, odd_cd) = (_mm512_shuffle_f64x2::<0x88>(c, d), _mm512_shuffle_f64x2::<0xdd>(c, d));
            _mm512_storeu_pd(to.add(column * to_row), _mm512_shuffle_f64x2::<0x88>(even_ab, even_cd));
            _mm512_storeu_pd(to.add((2 + column) * to_row), _mm512_shuffle_f64x2::<0x88>(odd_ab, odd_cd));
            _mm512_storeu_pd(to.add((4 + column) * to_row), _mm512_shuffle_f64x2::<0xdd>(even_ab, even_cd));
            _mm512_storeu_pd(to.add((6 + column) * to_row), _mm512_shuffle_f64x2::<0xdd>(odd_ab, odd_cd));
        }
    }
}
