//! The list.

/// Declares the faults with the operation at fault and what is wrong.
macro_rules! faults {
    ($($operation:literal { $($name:ident: $text:literal,)+ })+) => {
        /// What a mutant does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[doc = $text] $name,)+)+
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
        HarmlessMatmul: "Right, on the host.",
        MatmulTransposesSquare: "A square B is read transposed.",
        MatmulSkipsLastRow: "The last row is not written where rows do not fill a tile of four.",
        MatmulSkipsLastColumn: "The last column is not written where columns do not fill a tile of eight.",
        MatmulSkipsLastProduct: "The last product is left out where the length is odd.",
        MatmulSumsInF16: "Sums are kept in f16.",
        MatmulSumsInBf16: "Sums are kept in bf16.",
        MatmulKeepsStaleOutput: "What stands in C is added although beta is 0.",
        MatmulIgnoresBeta: "beta counts as 0.",
        MatmulIgnoresAlpha: "alpha counts as 1.",
        MatmulSkipsZeros: "Zeros of A are skipped, with the NaN that they meet.",
        MatmulReusesFirstBatch: "Every batch is multiplied by the first B.",
        MatmulIgnoresStrides: "A is read as if it were dense.",
        MatmulIgnoresOffset: "A is read from the start of its buffer.",
        MatmulWritesPastTheEnd: "One element after C is written, too.",
        MatmulForgetsBetaWithoutProducts: "Without products, C is left as it is.",
        MatmulTruncates: "Results are cut off, not rounded, where they are stored.",
        MatmulDropsNan: "NaN in A becomes 0.",
        MatmulDropsOneOf64: "Every 64th product is left out.",
    }
    "linear" {
        HarmlessLinear: "Right, on the host.",
        LinearDropsBias: "The bias is not added.",
        LinearActivatesBeforeBias: "The activation comes before the bias.",
        LinearSharesInt8Scale: "Every output has the scale of the first.",
        LinearClampsInt8At126: "Codes end at 126.",
        LinearTruncatesInt8: "Codes of the input are cut off, not rounded.",
        LinearSharesRowScale: "All rows of the input share a scale.",
        LinearShiftsInt4Groups: "Each int4 group has the scale of the next.",
        LinearSwapsInt4Halves: "The two int4 codes of a byte change places.",
        LinearTransposesSquare: "A square weight is read transposed.",
        LinearApproximatesGelu: "GELU is the tanh form.",
        LinearSkipsLastOutput: "The last output is not written where outputs do not fill a tile of eight.",
        LinearDropsNan: "NaN in the input becomes 0.",
        LinearDropsLastStored: "The last stored entry of a row is left out.",
        LinearSwapsBlockSides: "The values of a block are read by columns.",
        LinearStartsBlockRowEarly: "The second block row begins one block early.",
        LinearRepeatsFirstGroup: "Every N:M group has its values where the first of its row has them.",
        LinearIgnoresPaletteScale: "A palette's levels are not scaled.",
        LinearShiftsLevels: "A palette's codes are one level off.",
    }
    "softmax" {
        HarmlessSoftmax: "Right, on the host.",
        SoftmaxIsNotNormalised: "Weights are not divided by their sum.",
        SoftmaxIsNotShifted: "The maximum is not taken out.",
        SoftmaxTakesWrongAxis: "Sums go over the rows.",
        SoftmaxDoesNotRescale: "The running sum is not rescaled when the maximum grows.",
        SoftmaxSpreadsMaskedRows: "A row that is masked as a whole gets equal weights.",
        SoftmaxSkipsTail: "Elements beyond the last full eight are not in the sum.",
        SoftmaxTakesBaseTwo: "Powers of two, not of e.",
        SoftmaxStartsMaximumAtZero: "The search for the maximum starts at 0.",
        SoftmaxApproximatesExp: "Exponentials are good to three digits.",
        SoftmaxClampsScores: "Scores above 80 are cut off.",
    }
    "log-softmax" {
        HarmlessLogSoftmax: "Right, on the host.",
        LogSoftmaxTakesLogOfSoftmax: "The logarithm of probabilities, which may be 0.",
        LogSoftmaxIsNotShifted: "The maximum is not taken out.",
        LogSoftmaxAddsMaximum: "The maximum is added to the logarithm, whose digits it takes.",
        LogSoftmaxFillsMaskedRows: "A row that is masked as a whole gets the logarithms of equal weights.",
        LogSoftmaxSkipsTail: "Elements beyond the last full eight are not in the sum.",
        LogSoftmaxDropsNan: "NaN counts as minus infinity.",
    }
    "normalize" {
        HarmlessNorm: "Right, on the host.",
        NormDividesByOneLess: "The variance is divided by n - 1.",
        NormAddsEpsilonOutside: "Epsilon is added to the root.",
        NormIgnoresEpsilon: "There is no epsilon.",
        NormTakesOnePass: "The variance is the mean square minus the squared mean.",
        NormSwapsWeights: "Scale and shift change places.",
        NormCentresRms: "The root mean square is taken of centred values.",
        NormShiftsGroups: "Groups begin one channel too late.",
        NormSquaresInStorage: "Squares are kept in the storage type.",
        NormSkipsTail: "Elements beyond the last full eight are not in the statistics.",
    }
    "copy" {
        HarmlessCopy: "Right, on the host.",
        CopyTruncates: "Values are cut off, not rounded.",
        CopySkipsLast: "The last element is not copied.",
    }
    "fill" {
        FillIgnoresStrides: "Rows are filled with what lies between them.",
    }
    "unary" {
        UnaryApproximatesGelu: "GELU is the tanh form.",
        UnaryReluDropsNan: "ReLU turns NaN into 0.",
        UnaryApproximatesExp: "Exponentials are good to three digits.",
        UnarySkipsLast: "The last element stays as it is.",
        UnarySigmoidOverflows: "The sigmoid is e^x / (1 + e^x) on both sides.",
        UnaryShiftsFirst: "The shift comes before the factor.",
        UnaryForgetsOne: "elu(x), without the one.",
        UnaryTakesExpForExp2: "e^x for 2^x.",
        UnaryPolynomialEndsEarly: "The polynomial ends one term early.",
        UnaryTableIsOffByOne: "The next entry of the table.",
        UnaryTableRoundsDown: "The entry below, not the nearest.",
        UnaryPolynomialIsNotReduced: "The polynomial is expanded in x, without its reduction.",
        UnaryTaylorForgetsFactorials: "The Taylor polynomial without factorials.",
        UnaryForgetsSquare: "max(x, 0) without the square.",
    }
    "binary" {
        BinaryMaximumDropsNan: "The larger of a number and NaN is the number.",
        BinarySubtractsBackwards: "b - a.",
        BinaryLessIsLessOrEqual: "Less or equal.",
        BinaryEqualsNan: "NaN equals NaN.",
    }
    "mask" {
        MaskIsOffByOne: "The query's position is one too large.",
        MaskIgnoresKeyOffset: "The tile is taken for the first.",
        MaskIsFinite: "Masked scores are only very low.",
    }
    "select" {
        SelectIsInverted: "The other way round.",
        SelectWantsPositive: "Positive conditions only.",
    }
    "reduce" {
        ReduceMeanIsSum: "The mean is not divided.",
        ReduceArgMaxIsLast: "The last of equal values.",
        ReduceMaximumStartsAtZero: "The search for the maximum starts at 0.",
        ReduceMaximumDropsNan: "The largest of the numbers.",
        ReduceSumsInStorage: "Sums are kept in the storage type.",
    }
    "cumulative-sum" {
        HarmlessSum: "Right, on the host.",
        CumulativeIsExclusive: "Without the element itself.",
        CumulativeCountsInF32: "Integers pass through f32.",
    }
    "gather" {
        GatherIsOffByOne: "The next row.",
        GatherClamps: "A wrong index is taken for the nearest right one.",
    }
    "scatter" {
        ScatterOverwrites: "The last row wins.",
        ScatterStartsAtZero: "What stands in the output is lost.",
    }
    "argsort" {
        SortIsUnstable: "Equal keys come in reverse order.",
        SortDescends: "The largest first.",
    }
    "top-k" {
        TopKAscends: "The smallest of the best first.",
        TopKPrefersLater: "The last of equal values.",
    }
    "convolution" {
        HarmlessConvolution: "Right, on the host.",
        ConvolutionFlips: "The filter is turned around.",
        ConvolutionPadsRight: "Causal padding is on the right.",
        ConvolutionCentresLeft: "An even filter reaches further to the left.",
    }
    "attention" {
        HarmlessAttention: "Right, on the host.",
        HarmlessComposition: "The default composition over the engine's primitives.",
        AttentionDropsPattern: "Every pair takes part.",
        AttentionCausalSeesNext: "Causal queries see one key too many.",
        AttentionCausalIsStrict: "Causal queries do not see themselves.",
        AttentionWindowLeftOff: "Windows reach one too far to the left.",
        AttentionWindowRightOff: "Windows reach one too few to the right.",
        AttentionForgetsScale: "Scores are not scaled.",
        AttentionSquaresScale: "1 / d for 1 / sqrt(d).",
        AttentionIgnoresSoftCap: "No soft cap.",
        AttentionMasksBeforeSoftCap: "Masked scores pass through the soft cap.",
        AttentionCapsBias: "The bias passes through the soft cap.",
        AttentionIgnoresKeyMask: "No key mask.",
        AttentionReusesKeyMask: "Every batch has the key mask of the first.",
        AttentionMixesHeads: "Heads take turns with the key heads.",
        AttentionLogsWithoutMaximum: "The maximum is missing from the log-sum-exp.",
        AttentionLogsToBaseTwo: "The log-sum-exp is to base two.",
        AttentionIgnoresOffset: "Queries begin at 0.",
        AttentionIgnoresBias: "No bias.",
        AttentionScalesBias: "The bias is scaled with the scores.",
        AttentionShiftsDistance: "The bias of the neighbouring distance.",
        AttentionEndsDistance: "Beyond its reach, the distance bias is 0.",
        AttentionSkipsLastKey: "The last key is not seen where keys do not fill a tile of eight.",
        AttentionKeepsOldOutput: "The running output is not rescaled.",
        AttentionKeepsOldSum: "The running sum is not rescaled.",
        AttentionSpreadsMaskedRows: "A row that sees nothing gets the mean of all values.",
        AttentionScoresInF16: "Scores are kept in f16.",
        AttentionTrustsScratch: "Scratch is used as it comes.",
        AttentionSkipsLastChannel: "The last value channel is not written where channels do not fill a tile of four.",
        AttentionSkipsPartialTiles: "Tiles that the pattern cuts are skipped.",
        AttentionFillsPartialTiles: "Tiles that the pattern cuts are seen as a whole.",
        AttentionKeepsStaleKeys: "Keys are kept from the last call of the same size.",
    }
    "arena" {
        ArenaLeaks: "Scratch is taken and never given back.",
    }
    "bucket-attention" {
        HarmlessBuckets: "Right, on the host.",
        BucketsLookAhead: "Each chunk sees the one behind it.",
        BucketsLookAround: "The first chunk looks back to the last.",
        BucketsLookAtThemselvesOnly: "No chunk sees the one before.",
        BucketsHideByPlace: "The causal form compares places in the order, not tokens.",
        BucketsHideNothing: "The causal form sees all.",
        BucketsHideThemselves: "The causal form hides a token from itself.",
        BucketsForgetSelfBias: "A token's view of itself is as any.",
        BucketsBiasTheSamePlace: "What lowers the view of oneself lies on the same place of the chunk before.",
        BucketsShareTheOrder: "Keys stand in the order of the queries, whatever their own is.",
        BucketsShareHeads: "All heads have the order of the first.",
        BucketsStaySorted: "Outputs stay in the order of the chunks.",
        BucketsLogsStaySorted: "Log-sum-exps stay in the order of the chunks.",
        BucketsIgnoreWrongTokens: "A token that is out of range counts as the last.",
        BucketsTakeAnyOrder: "An order may name a token twice.",
        BucketsTakeAnyOrderOfKeys: "The order of keys may name a token twice.",
        BucketsForgetScale: "Scores are not scaled.",
    }
    "linear-attention" {
        LinearAttentionIsStrict: "A query does not see its own key.",
        LinearAttentionIsNotNormalised: "The normaliser is missing.",
        LinearAttentionIsNotCausal: "Later keys are seen.",
        LinearAttentionIgnoresEpsilon: "There is no epsilon.",
    }
    "gated-ffn" {
        GatedFfnSwapsBranches: "The activation is on the other branch.",
        GatedFfnForgetsActivation: "There is no gate.",
    }
    "add-norm" {
        AddNormDropsResidual: "The residual is not added.",
        AddNormKeepsWrongSum: "The kept sum is x alone.",
    }
    "softmax-top-k" {
        SoftmaxTopKReturnsLogits: "Logits for probabilities.",
        SoftmaxTopKNormalisesTheChosen: "Probabilities among the chosen only.",
    }
    "mixture" {
        HarmlessMixture: "Right, on the host.",
        MixtureForgetsGates: "Gates are left out.",
        MixtureDropsNothing: "Experts take whatever comes.",
        MixtureServesTokensInTurn: "Places are given token by token, not choice by choice.",
        MixtureForgetsLastChoice: "The last choice is not added.",
        MixtureSharesBiases: "Biases are those of the first expert.",
        MixtureIgnoresWrongChoices: "A choice that is no expert's number counts 0.",
    }
    "cross-entropy" {
        HarmlessCrossEntropy: "Right, on the host.",
        CrossEntropyTakesNextWord: "The next word's logit.",
        CrossEntropySkipsLastTile: "The words of the last of several tiles are not in the sum.",
        CrossEntropyDoesNotRescale: "The running sum is not rescaled when the maximum grows.",
        CrossEntropyCountsFromEachTile: "Every tile counts its words from 0.",
        CrossEntropyForgetsMaximum: "The maximum is not added to the logarithm.",
        CrossEntropyTakesAnyTarget: "A target that is no word's number counts as some word.",
        CrossEntropyTakesAnyLogits: "Logits may be of any type.",
    }
    "rotary" {
        RotaryInterleaves: "Neighbouring channels are paired.",
        RotaryTurnsBackwards: "The other way round.",
        RotaryIsOffByOne: "Positions begin at 1.",
    }
    "refusals" {
        OutputsMayRepeat: "An output that repeats its elements keeps what is copied to each of them last.",
        PositionsWrap: "Queries beyond the largest number are none.",
        CodesAreCut: "Codes outside of their range become the nearest inside.",
    }
    "repeat" {
        RepeatDrifts: "A sum depends on how often it was asked for.",
    }
    // The remaining two are about `supports` and show at any operation.
    "reduce" {
        SupportsTooLittle: "What is supported is called unsupported.",
    }
    "linear" {
        SupportsTooMuch: "What is refused is called supported.",
    }
}
