//! Coefficients of elementary functions, minimax for the relative error of the result (Remez exchange, computed with 45 digits; those of
//! the sine by interpolation at Chebyshev's nodes, which is near that).
//!
//! | | singles: degree, error | doubles: degree, error |
//! |---|---|---|
//! | tanh, up to 5/8 | 4, 7.4e-9 | 11, 6.8e-19 |
//! | log, over an octave around 1 | 2, 1.4e-9 | 6, 2.3e-18 |
//! | sine, up to 1.6 | 4, 1.9e-8 | 9, 3.7e-17 |
//! | normal distribution | 9, 9.1e-9 | 22, 9.7e-18 |

/// For one element type; from the constant coefficient on.
pub(crate) trait Coefficients: Sized + 'static {
    /// (tanh(x) / x - 1) / x^2 as a polynomial in x^2.
    const TANH: &'static [Self];
    /// (2 artanh(s) / s - 2) / s^2 as a polynomial in s^2.
    const LOG: &'static [Self];
    /// (sin(r) / r - 1) / r^2 as a polynomial in r^2.
    const SINE: &'static [Self];
    /// Up to here three parts of pi are enough to bring an argument near zero, and its multiple of pi is a whole number without a doubt.
    const SINE_LIMIT: Self;
    /// pi in three parts, the largest first.
    const PI: [Self; 3];
    /// 1 / pi.
    const ONE_BY_PI: Self;
    /// Phi(-a) e^(a^2 / 2) as a polynomial in (a - center) / (a + center).
    const NORMAL: &'static [Self];
    /// That center.
    const NORMAL_CENTER: Self;
    /// From here on Phi(-a) is 0 (times any number of this type).
    const NORMAL_LIMIT: Self;
    /// The smallest normal number; a power of two that makes every subnormal number normal; its exponent.
    const SUBNORMAL: [Self; 3];
}

impl Coefficients for f32 {
    const TANH: &'static [Self] = &[-0.333_332_93, 0.133_315_35, -0.053_738_05, 0.020_614_006, -0.005_662_478];
    const LOG: &'static [Self] = &[0.666_667_76, 0.399_760_25, 0.299_268_45];
    const SINE: &'static [Self] = &[-0.166_666_67, 0.008_333_333, -0.000_198_410_65, 2.753_489e-6, -2.404_443_4e-8];
    const SINE_LIMIT: Self = 1e5;
    const PI: [Self; 3] = [std::f32::consts::PI, -8.742_278e-8, -3.430_249e-15];
    const ONE_BY_PI: Self = std::f32::consts::FRAC_1_PI;
    const NORMAL: &'static [Self] = &[
        0.121_513_95,
        -0.206_402_61,
        0.123_225_04,
        -0.046_213_266,
        0.006_131_943,
        0.002_904_388,
        -0.000_983_290_4,
        -0.000_339_014_16,
        0.000_115_015_69,
        0.000_053_163_47,
    ];
    const NORMAL_CENTER: Self = 3.0;
    const NORMAL_LIMIT: Self = 14.5;
    const SUBNORMAL: [Self; 3] = [Self::MIN_POSITIVE, 16_777_216.0, 24.0];
}

impl Coefficients for f64 {
    const TANH: &'static [Self] = &[
        -0.333_333_333_333_333_26,
        0.133_333_333_333_311_32,
        -0.053_968_253_966_633_03,
        0.021_869_488_480_344_11,
        -0.008_863_234_445_713_656,
        0.003_592_114_916_756_117,
        -0.001_455_729_776_786_396,
        0.000_589_460_863_298_613,
        -0.000_237_020_221_225_039_2,
        9.154_835_094_837_51e-5,
        -3.015_554_886_148_749_4e-5,
        6.020_392_152_458_898e-6,
    ];
    const LOG: &'static [Self] = &[
        0.666_666_666_666_671,
        0.399_999_999_995_188_87,
        0.285_714_287_297_611_8,
        0.222_221_990_218_153_73,
        0.181_835_759_419_302_4,
        0.153_130_354_200_372_08,
        0.148_119_414_739_607_94,
    ];
    const SINE: &'static [Self] = &[
        -0.166_666_666_666_666_66,
        0.008_333_333_333_333_333,
        -0.000_198_412_698_412_698_4,
        2.755_731_922_398_584_6e-6,
        -2.505_210_838_543_055e-8,
        1.605_904_383_519_182_7e-10,
        -7.647_163_587_023_301e-13,
        2.811_449_289_260_583_8e-15,
        -8.217_985_314_551_368e-18,
        1.908_384_095_176_335_7e-20,
    ];
    const SINE_LIMIT: Self = 1e8;
    const PI: [Self; 3] = [std::f64::consts::PI, 1.224_646_799_147_353_2e-16, -2.994_769_809_718_363e-33];
    const ONE_BY_PI: Self = std::f64::consts::FRAC_1_PI;
    const NORMAL: &'static [Self] = &[
        0.064_779_314_324_446_85,
        -0.123_196_733_457_018_98,
        0.105_831_493_450_470_94,
        -0.081_906_039_799_198_49,
        0.056_823_152_634_760_7,
        -0.035_054_539_825_485_6,
        0.018_987_678_978_014_11,
        -0.008_846_435_931_858_623,
        0.003_417_928_009_578_122_3,
        -0.001_013_452_149_660_591_6,
        0.000_180_372_955_909_668_74,
        1.237_417_433_436_033_7e-5,
        -2.050_946_194_881_322e-5,
        5.485_721_140_269_17e-6,
        4.770_193_038_528_038e-7,
        -7.165_275_707_416_123e-7,
        1.135_915_374_513_074_7e-7,
        6.190_056_711_032_419e-8,
        -2.446_335_851_392_672_3e-8,
        -4.390_169_363_984_703_5e-9,
        3.167_235_974_083_735e-9,
        2.872_975_896_640_242e-10,
        -2.035_733_904_960_797e-10,
    ];
    const NORMAL_CENTER: Self = 6.0;
    const NORMAL_LIMIT: Self = 39.0;
    const SUBNORMAL: [Self; 3] = [Self::MIN_POSITIVE, 18_014_398_509_481_984.0, 54.0];
}
