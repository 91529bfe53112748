//! The list.

/// Declares the faults with the operation at fault and what is wrong.
macro_rules! faults {
    ($($operation:literal { $($(#[doc = $text:literal])+ $name:ident,)+ })+) => {
        /// What a mutant does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($($(#[doc = $text])+ $name,)+)+
        }

        impl Fault {
            pub(super) const DECLARED: &'static [Self] = &[$($(Self::$name,)+)+];

            /// The operation that is at fault, as properties name it.
            pub fn operation(self) -> &'static str {
                match self {
                    $($(Self::$name)|+ => $operation,)+
                }
            }
        }
    };
}

faults! {
    "matmul" {
        /// Right, on the host.
        HarmlessMatmul,
        /// A square B is read transposed.
        MatmulTransposesSquare,
        /// The last row is not written where rows do not fill a tile of four.
        MatmulSkipsLastRow,
        /// The last column is not written where columns do not fill a tile of eight.
        MatmulSkipsLastColumn,
        /// The last product is left out where the length is odd.
        MatmulSkipsLastProduct,
        /// Sums are kept in f16.
        MatmulSumsInF16,
        /// Sums are kept in bf16.
        MatmulSumsInBf16,
        /// What stands in C is added although beta is 0.
        MatmulKeepsStaleOutput,
        /// beta counts as 0.
        MatmulIgnoresBeta,
        /// alpha counts as 1.
        MatmulIgnoresAlpha,
        /// Zeros of A are skipped, with the NaN that they meet.
        MatmulSkipsZeros,
        /// Every batch is multiplied by the first B.
        MatmulReusesFirstBatch,
        /// A is read as if it were dense.
        MatmulIgnoresStrides,
        /// A is read from the start of its buffer.
        MatmulIgnoresOffset,
        /// One element after C is written, too.
        MatmulWritesPastTheEnd,
        /// Without products, C is left as it is.
        MatmulForgetsBetaWithoutProducts,
        /// Results are cut off, not rounded, where they are stored.
        MatmulTruncates,
        /// NaN in A becomes 0.
        MatmulDropsNan,
        /// Every 64th product is left out.
        MatmulDropsOneOf64,
    }
    "linear" {
        /// Right, on the host.
        HarmlessLinear,
        /// The bias is not added.
        LinearDropsBias,
        /// The activation comes before the bias.
        LinearActivatesBeforeBias,
        /// Every output has the scale of the first.
        LinearSharesInt8Scale,
        /// Codes end at 126.
        LinearClampsInt8At126,
        /// Codes of the input are cut off, not rounded.
        LinearTruncatesInt8,
        /// All rows of the input share a scale.
        LinearSharesRowScale,
        /// Each int4 group has the scale of the next.
        LinearShiftsInt4Groups,
        /// The two int4 codes of a byte change places.
        LinearSwapsInt4Halves,
        /// A square weight is read transposed.
        LinearTransposesSquare,
        /// GELU is the tanh form.
        LinearApproximatesGelu,
        /// The last output is not written where outputs do not fill a tile of eight.
        LinearSkipsLastOutput,
        /// NaN in the input becomes 0.
        LinearDropsNan,
        /// The last stored entry of a row is left out.
        LinearDropsLastStored,
        /// The values of a block are read by columns.
        LinearSwapsBlockSides,
        /// The second block row begins one block early.
        LinearStartsBlockRowEarly,
        /// Every N:M group has its values where the first of its row has them.
        LinearRepeatsFirstGroup,
        /// A palette's levels are not scaled.
        LinearIgnoresPaletteScale,
        /// A palette's codes are one level off.
        LinearShiftsLevels,
    }
    "softmax" {
        /// Right, on the host.
        HarmlessSoftmax,
        /// Weights are not divided by their sum.
        SoftmaxIsNotNormalised,
        /// The maximum is not taken out.
        SoftmaxIsNotShifted,
        /// Sums go over the rows.
        SoftmaxTakesWrongAxis,
        /// The running sum is not rescaled when the maximum grows.
        SoftmaxDoesNotRescale,
        /// A row that is masked as a whole gets equal weights.
        SoftmaxSpreadsMaskedRows,
        /// Elements beyond the last full eight are not in the sum.
        SoftmaxSkipsTail,
        /// Powers of two, not of e.
        SoftmaxTakesBaseTwo,
        /// The search for the maximum starts at 0.
        SoftmaxStartsMaximumAtZero,
        /// Exponentials are good to three digits.
        SoftmaxApproximatesExp,
        /// Scores above 80 are cut off.
        SoftmaxClampsScores,
    }
    "normalize" {
        /// Right, on the host.
        HarmlessNorm,
        /// The variance is divided by n - 1.
        NormDividesByOneLess,
        /// Epsilon is added to the root.
        NormAddsEpsilonOutside,
        /// There is no epsilon.
        NormIgnoresEpsilon,
        /// The variance is the mean square minus the squared mean.
        NormTakesOnePass,
        /// Scale and shift change places.
        NormSwapsWeights,
        /// The root mean square is taken of centred values.
        NormCentresRms,
        /// Groups begin one channel too late.
        NormShiftsGroups,
        /// Squares are kept in the storage type.
        NormSquaresInStorage,
        /// Elements beyond the last full eight are not in the statistics.
        NormSkipsTail,
    }
    "copy" {
        /// Right, on the host.
        HarmlessCopy,
        /// Values are cut off, not rounded.
        CopyTruncates,
        /// The last element is not copied.
        CopySkipsLast,
    }
    "fill" {
        /// Rows are filled with what lies between them.
        FillIgnoresStrides,
    }
    "unary" {
        /// GELU is the tanh form.
        UnaryApproximatesGelu,
        /// ReLU turns NaN into 0.
        UnaryReluDropsNan,
        /// Exponentials are good to three digits.
        UnaryApproximatesExp,
        /// The last element stays as it is.
        UnarySkipsLast,
        /// The sigmoid is e^x / (1 + e^x) on both sides.
        UnarySigmoidOverflows,
        /// The shift comes before the factor.
        UnaryShiftsFirst,
        /// elu(x), without the one.
        UnaryForgetsOne,
        /// e^x for 2^x.
        UnaryTakesExpForExp2,
        /// The polynomial ends one term early.
        UnaryPolynomialEndsEarly,
        /// The next entry of the table.
        UnaryTableIsOffByOne,
        /// The entry below, not the nearest.
        UnaryTableRoundsDown,
        /// The polynomial is expanded in x, without its reduction.
        UnaryPolynomialIsNotReduced,
        /// The Taylor polynomial without factorials.
        UnaryTaylorForgetsFactorials,
        /// max(x, 0) without the square.
        UnaryForgetsSquare,
    }
    "binary" {
        /// The larger of a number and NaN is the number.
        BinaryMaximumDropsNan,
        /// b - a.
        BinarySubtractsBackwards,
        /// Less or equal.
        BinaryLessIsLessOrEqual,
        /// NaN equals NaN.
        BinaryEqualsNan,
    }
    "mask" {
        /// The query's position is one too large.
        MaskIsOffByOne,
        /// The tile is taken for the first.
        MaskIgnoresKeyOffset,
        /// Masked scores are only very low.
        MaskIsFinite,
    }
    "select" {
        /// The other way round.
        SelectIsInverted,
        /// Positive conditions only.
        SelectWantsPositive,
    }
    "reduce" {
        /// The mean is not divided.
        ReduceMeanIsSum,
        /// The last of equal values.
        ReduceArgMaxIsLast,
        /// The search for the maximum starts at 0.
        ReduceMaximumStartsAtZero,
        /// The largest of the numbers.
        ReduceMaximumDropsNan,
        /// Sums are kept in the storage type.
        ReduceSumsInStorage,
    }
    "cumulative-sum" {
        /// Right, on the host.
        HarmlessSum,
        /// Without the element itself.
        CumulativeIsExclusive,
        /// Integers pass through f32.
        CumulativeCountsInF32,
    }
    "gather" {
        /// The next row.
        GatherIsOffByOne,
        /// A wrong index is taken for the nearest right one.
        GatherClamps,
    }
    "scatter" {
        /// The last row wins.
        ScatterOverwrites,
        /// What stands in the output is lost.
        ScatterStartsAtZero,
    }
    "argsort" {
        /// Equal keys come in reverse order.
        SortIsUnstable,
        /// The largest first.
        SortDescends,
    }
    "top-k" {
        /// The smallest of the best first.
        TopKAscends,
        /// The last of equal values.
        TopKPrefersLater,
    }
    "convolution" {
        /// Right, on the host.
        HarmlessConvolution,
        /// The filter is turned around.
        ConvolutionFlips,
        /// Causal padding is on the right.
        ConvolutionPadsRight,
        /// An even filter reaches further to the left.
        ConvolutionCentresLeft,
    }
    "attention" {
        /// Right, on the host.
        HarmlessAttention,
        /// The default composition over the engine's primitives.
        HarmlessComposition,
        /// Every pair takes part.
        AttentionDropsPattern,
        /// Causal queries see one key too many.
        AttentionCausalSeesNext,
        /// Causal queries do not see themselves.
        AttentionCausalIsStrict,
        /// Windows reach one too far to the left.
        AttentionWindowLeftOff,
        /// Windows reach one too few to the right.
        AttentionWindowRightOff,
        /// Scores are not scaled.
        AttentionForgetsScale,
        /// 1 / d for 1 / sqrt(d).
        AttentionSquaresScale,
        /// No soft cap.
        AttentionIgnoresSoftCap,
        /// Masked scores pass through the soft cap.
        AttentionMasksBeforeSoftCap,
        /// The bias passes through the soft cap.
        AttentionCapsBias,
        /// No key mask.
        AttentionIgnoresKeyMask,
        /// Every batch has the key mask of the first.
        AttentionReusesKeyMask,
        /// Heads take turns with the key heads.
        AttentionMixesHeads,
        /// The maximum is missing from the log-sum-exp.
        AttentionLogsWithoutMaximum,
        /// The log-sum-exp is to base two.
        AttentionLogsToBaseTwo,
        /// Queries begin at 0.
        AttentionIgnoresOffset,
        /// No bias.
        AttentionIgnoresBias,
        /// The bias is scaled with the scores.
        AttentionScalesBias,
        /// The bias of the neighbouring distance.
        AttentionShiftsDistance,
        /// Beyond its reach, the distance bias is 0.
        AttentionEndsDistance,
        /// The last key is not seen where keys do not fill a tile of eight.
        AttentionSkipsLastKey,
        /// The running output is not rescaled.
        AttentionKeepsOldOutput,
        /// The running sum is not rescaled.
        AttentionKeepsOldSum,
        /// A row that sees nothing gets the mean of all values.
        AttentionSpreadsMaskedRows,
        /// Scores are kept in f16.
        AttentionScoresInF16,
        /// Scratch is used as it comes.
        AttentionTrustsScratch,
        /// The last value channel is not written where channels do not fill a tile of four.
        AttentionSkipsLastChannel,
        /// Tiles that the pattern cuts are skipped.
        AttentionSkipsPartialTiles,
        /// Tiles that the pattern cuts are seen as a whole.
        AttentionFillsPartialTiles,
        /// Keys are kept from the last call of the same size.
        AttentionKeepsStaleKeys,
    }
    "arena" {
        /// Scratch is taken and never given back.
        ArenaLeaks,
    }
    "linear-attention" {
        /// A query does not see its own key.
        LinearAttentionIsStrict,
        /// The normaliser is missing.
        LinearAttentionIsNotNormalised,
        /// Later keys are seen.
        LinearAttentionIsNotCausal,
        /// There is no epsilon.
        LinearAttentionIgnoresEpsilon,
    }
    "gated-ffn" {
        /// The activation is on the other branch.
        GatedFfnSwapsBranches,
        /// There is no gate.
        GatedFfnForgetsActivation,
    }
    "add-norm" {
        /// The residual is not added.
        AddNormDropsResidual,
        /// The kept sum is x alone.
        AddNormKeepsWrongSum,
    }
    "softmax-top-k" {
        /// Logits for probabilities.
        SoftmaxTopKReturnsLogits,
        /// Probabilities among the chosen only.
        SoftmaxTopKNormalisesTheChosen,
    }
    "mixture" {
        /// Right, on the host.
        HarmlessMixture,
        /// Gates are left out.
        MixtureForgetsGates,
        /// Experts take whatever comes.
        MixtureDropsNothing,
        /// Places are given token by token, not choice by choice.
        MixtureServesTokensInTurn,
        /// The last choice is not added.
        MixtureForgetsLastChoice,
        /// Biases are those of the first expert.
        MixtureSharesBiases,
        /// A choice that is no expert's number counts 0.
        MixtureIgnoresWrongChoices,
    }
    "cross-entropy" {
        /// Right, on the host.
        HarmlessCrossEntropy,
        /// The next word's logit.
        CrossEntropyTakesNextWord,
        /// The words of the last of several tiles are not in the sum.
        CrossEntropySkipsLastTile,
        /// The running sum is not rescaled when the maximum grows.
        CrossEntropyDoesNotRescale,
        /// Every tile counts its words from 0.
        CrossEntropyCountsFromEachTile,
        /// The maximum is not added to the logarithm.
        CrossEntropyForgetsMaximum,
        /// A target that is no word's number counts as some word.
        CrossEntropyTakesAnyTarget,
        /// Logits may be of any type.
        CrossEntropyTakesAnyLogits,
    }
    "rotary" {
        /// Neighbouring channels are paired.
        RotaryInterleaves,
        /// The other way round.
        RotaryTurnsBackwards,
        /// Positions begin at 1.
        RotaryIsOffByOne,
    }
    "repeat" {
        /// A sum depends on how often it was asked for.
        RepeatDrifts,
    }
    // The remaining two are about `supports` and show at any operation.
    "reduce" {
        /// What is supported is called unsupported.
        SupportsTooLittle,
    }
    "linear" {
        /// What is refused is called supported.
        SupportsTooMuch,
    }
}
