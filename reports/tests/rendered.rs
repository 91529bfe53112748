//! The files of a report, word for word: what a change of wording or layout does is seen here.

mod support;

use std::fs;

use crossover_reports::{Format, write_report};
use crossover_results::schema::{Matching, Saved, Transform};
use support::{measured, part, run_of, tables, twenty_cells};

fn rendered(file: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run-1"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    write_report(&[run], &out, &[Format::Markdown, Format::Csv], None).unwrap();
    fs::read_to_string(out.join(file)).unwrap().trim().to_owned()
}

fn rendered_part(title: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run-1"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    part(&out, title).trim().to_owned()
}

#[test]
fn summary() {
    insta::assert_snapshot!(rendered("summary.md"), @r"
    # Crossover report: attention-quick

    ## What pays, and from where on

    Against the fastest exact cell of the same engine, precision and threads (*against*); of each family on its fastest engine.

    * Run run-1: noise floor 1.30 %: a ratio nearer to 1 decides nothing; **only 20 of 24 planned cells are finished**.

    ### attention on simd

    | variant         | setting | faster                  |         time |   error | memory | points | against         |
    | --------------- | ------- | ----------------------- | -----------: | ------: | -----: | -----: | --------------- |
    | attention/flash |         | throughout n = 128..512 | 0.724 at 128 | 6.00e-8 |  0.375 |      2 | attention/dense |

    All: [attention.md](attention.md).

    How to read it: first what computes the exact result, the largest gain first; then approximations, the smallest error first (none above 10 %); then what computes another function in the baseline's place. Of a variant that pays in several settings, precisions or numbers of threads the one that comes first in this order is shown; the document has all. *time*, *error* (relative Frobenius norm against the exact result) and *memory* (declared bytes) are those of the first size at which it pays; time is over the strong baseline's, memory over the declared baseline's. *[..]* is how far the 95 % intervals of the times and the noise leave the crossing open; that the curve is straight between two sizes is taken for granted. Whether an error can be borne is for the model to say: on inputs drawn at random an approximation loses more than on a trained model's.

    More: [attention.md](attention.md) · [cells.csv](cells.csv) · [crossovers.csv](crossovers.csv) · [frontier.csv](frontier.csv) · [scaling.csv](scaling.csv) · [engines.csv](engines.csv) · [unprofitable.csv](unprofitable.csv).

    ![attention: 1 of 1 variant pays against the strong baseline along n. flash: throughout n = 128..512. simd, f32, 1 thread, head_dim = 64.](pictures/attention-crossover.svg)

    ## How the cells ended

    | family    | cells |  ok | emulated | wrong | oom | crashed |
    | --------- | ----: | --: | -------: | ----: | --: | ------: |
    | attention |    20 |  16 |        1 |     1 |   1 |       1 |

    ## Best alternative to the baseline

    The fastest of each problem beside the baseline itself, as the ratio of its median time to the baseline's in the same rounds, with a conservative 95 % interval: below 1 is faster, an interval that holds 1 shows no difference, and a ratio nearer to 1 than the run's noise floor is within the noise. *memory* is its declared bytes over the baseline's, *error* its distance from the exact result (relative Frobenius norm): the fastest may be one whose error nobody can use. *of* is the number of cells that it was picked from, *samples* are the variant's and the baseline's. Emulated cells are left out.

    ### attention

    Regime: head_dim = 64, precision = f32.

    |   n | threads | fastest                  |  median |      ratio [95 % CI] | memory |   error | verdict                         | baseline                 | its median |  of | samples |
    | --: | ------: | ------------------------ | ------: | -------------------: | -----: | ------: | ------------------------------- | ------------------------ | ---------: | --: | ------: |
    | 128 |       1 | attention/flash on naive |  116 µs | 0.706 [0.692, 0.720] |  0.375 | 6.00e-8 | faster                          | attention/dense on naive |     164 µs |   1 | 11 / 11 |
    | 128 |       1 | attention/flash on simd  | 29.7 µs | 0.724 [0.710, 0.739] |  0.375 | 6.00e-8 | faster                          | attention/dense on simd  |    41.0 µs |   1 | 11 / 11 |
    | 512 |       1 | attention/flash on naive | 1.84 ms | 0.700 [0.687, 0.715] |  0.115 | 6.00e-8 | faster                          | attention/dense on naive |    2.62 ms |   1 | 11 / 11 |
    | 512 |       1 | attention/flash on simd  |  460 µs | 0.702 [0.688, 0.716] |  0.115 | 6.00e-8 | faster                          | attention/dense on simd  |     655 µs |   1 | 11 / 11 |
    | 128 |       2 | attention/flash on naive |  116 µs | 0.706 [0.692, 0.720] |  0.375 | 6.00e-8 | faster                          | attention/dense on naive |     164 µs |   2 | 11 / 11 |
    | 128 |       2 | attention/flash on simd  | 29.7 µs | 0.724 [0.710, 0.739] |  0.375 | 6.00e-8 | faster                          | attention/dense on simd  |    41.0 µs |   1 | 11 / 11 |
    | 512 |       2 | attention/flash on naive | 1.84 ms | 0.700 [0.687, 0.715] |  0.115 | 6.00e-8 | faster                          | attention/dense on naive |    2.62 ms |   1 | 11 / 11 |
    | 512 |       2 | –                        |       – |                    – |      – |       – | not ranked: the baseline is oom | attention/dense on simd  |          – |   0 |   – / – |

    ## Where it does not pay

    Ratios are to the strong baseline, the fastest exact cell of the same engine, precision and threads. A variant is faster or slower where the whole 95 % interval is, and by more than the run's noise floor. *points* are the cells that have such a ratio, over all sizes, engines, precisions and threads measured here: another machine or another size may say otherwise. *where* leaves out what is the same for all in the table.

    1 variant not shown to be faster at any point measured here, nor slower at all of them. Each with its lowest ratio.

    | variant          |      ratio [95 % CI] |   error | memory | points                | against         | where | measured on |
    | ---------------- | -------------------: | ------: | -----: | --------------------- | --------------- | ----- | ----------- |
    | attention/window | 1.01 [0.987, 1.03] † | 6.00e-8 |   1.00 | 1 no difference shown | attention/dense | naive | naive       |

    ## Engines

    Geometric means of the ratios of median times over the cells that both engines have done well: same run, variant, axes, precision and threads. *time* is the engine's over that of the first of its family, with a 95 % interval over problems (Student's t on logarithms; cells of one problem count as varying together); *cells* and *problems* are those that the two share, so they differ from line to line. An engine's *place* is one more than the number of engines that are shown to be faster by the whole interval, so engines that nothing parts share one.

    ### 1 thread

    | family    | place | engine |    time [95 % CI] | cells | problems | against |
    | --------- | ----: | ------ | ----------------: | ----: | -------: | ------- |
    | attention |     1 | simd   |                 1 |       |          |         |
    | attention |     2 | naive  | 3.97 [3.68, 4.29] |     4 |        2 | simd    |

    ### 2 threads

    | family    | place | engine |    time [95 % CI] | cells | problems | against |
    | --------- | ----: | ------ | ----------------: | ----: | -------: | ------- |
    | attention |     1 | simd   |                 1 |       |          |         |
    | attention |     2 | naive  | 3.96 [3.72, 4.22] |     3 |        2 | simd    |

    ![Engines, 1 thread: simd first or level in 1 of 1 families. Time over the first's: attention, naive: 3.97.](pictures/engines.svg)

    ![Engines, 2 threads: simd first or level in 1 of 1 families. Time over the first's: attention, naive: 3.96.](pictures/engines-2.svg)

    ## Failures, skips and emulations

    | status   | cells | reason                                        | example                                   |
    | -------- | ----: | --------------------------------------------- | ----------------------------------------- |
    | emulated |     1 | no kernel for this precision: computed in f32 | attention/window on naive, id emulated    |
    | wrong    |     1 | row 3 misses its tolerance 4.2 times          | attention/window on naive, id wrong       |
    | oom      |     1 | needs 3 GiB, has 2 GiB                        | attention/dense on simd, id g4-simd-dense |
    | crashed  |     1 | signal 11: illegal instruction                | attention/window on naive, id crash       |

    ## Noise and notes

    * Noise floor: the same cell, measured in two fresh workers in turns, differed from itself by 1.30 % at most (20 pairs). A ratio nearer to 1 than that is noise, whatever its interval says. Stolen by the hypervisor during the run: 1.50 ms, all cores together. Load average before the run: 0.50.
    * Marked †: 2 of 9 ratios of times. What the baseline showed in the same rounds is not known there: its own record stands in.

    ## Machine

    * Example CPU, 2 of 4 cores, 16.0 GiB (machine1); L1 data 32.0 KiB, L2 unified 1.00 MiB, kernel 6.1.0, governor performance, turbo off

    ## Made by

    ```text
    crossover run attention-quick --set n=128,256
    ```

    Run run-1 of attention-quick, started 2023-11-14 22:13 UTC: 20 of 24 planned cells finished. Seed 7, plan 8899aabbccddeeff.

    * Worker crossover-worker 0.1.0 (build build1): x
      Not told here: energy_uj (this machine has no powercap tree).
    ");
}

#[test]
fn speed() {
    insta::assert_snapshot!(rendered_part("Speed"), @r"
    The median time of one call, and the 95 % confidence interval of that median. The ratio is the cell's time over its baseline's in the same rounds: below 1 is faster. Its interval divides the ends of the two medians' intervals crosswise, so it is rather too wide than too narrow. *share* is the least time that the machine's measured ceilings allow over the measured one (ceilings measured with more threads than the cell used count in full, so such a share is rather too low); *stop* says whether the interval became as narrow as asked or the time ran out; *samples* are those that the figures come from, and those rejected for a disturbance. A cell without a time has its status in place of it; the reasons are in the summary. Emulated cells ran in another precision than they are named by, and are not ranked.

    †: the ratio is to the baseline's own record, since the cell's has nothing on the baseline in the same rounds (there was no room for it beside the cell, it failed, or the record is of an older layout). What drifted in between, where the two are of different times, is in the ratio.

    ### 1 thread

    Constant: head_dim = 64.

    | variant          | engine |   n | precision |             median |           95 % CI |                     ratio | GFLOP/s |   GB/s |   share | stop      | samples / rejected | baseline                 |
    | ---------------- | ------ | --: | --------- | -----------------: | ----------------: | ------------------------: | ------: | -----: | ------: | --------- | -----------------: | ------------------------ |
    | attention/dense  | naive  | 128 | f32       |             164 µs |   162 µs … 165 µs |                  baseline |  0.0156 |  0.200 | 0.100 % | converged |             11 / 1 | attention/dense on naive |
    | attention/dense  | simd   | 128 | f32       |            41.0 µs | 40.6 µs … 41.4 µs |                  baseline |  0.0625 |  0.800 | 0.400 % | converged |             11 / 1 | attention/dense on simd  |
    | attention/flash  | naive  | 128 | f32       |             116 µs |   115 µs … 117 µs |      0.706 [0.692, 0.720] |  0.0221 |  0.283 | 0.142 % | converged |             11 / 1 | attention/dense on naive |
    | attention/flash  | simd   | 128 | f32       |            29.7 µs | 29.4 µs … 30.0 µs |      0.724 [0.710, 0.739] |  0.0863 |   1.10 | 0.552 % | converged |             11 / 1 | attention/dense on simd  |
    | attention/window | naive  | 128 | f32       | 5.00 µs (emulated) | 4.95 µs … 5.05 µs | 0.0305 [0.0299, 0.0311] † |   0.512 |   6.55 |  3.28 % | converged |             11 / 1 | attention/dense on naive |
    | attention/dense  | naive  | 512 | f32       |            2.62 ms | 2.60 ms … 2.65 ms |                  baseline |  0.0156 | 0.0500 | 0.381 % | converged |             11 / 1 | attention/dense on naive |
    | attention/dense  | simd   | 512 | f32       |             655 µs |   649 µs … 662 µs |                  baseline |  0.0625 |  0.200 |  1.52 % | converged |             11 / 1 | attention/dense on simd  |
    | attention/flash  | naive  | 512 | f32       |            1.84 ms | 1.82 ms … 1.85 ms |      0.700 [0.687, 0.715] |  0.0223 | 0.0714 | 0.544 % | converged |             11 / 1 | attention/dense on naive |
    | attention/flash  | simd   | 512 | f32       |             460 µs |   455 µs … 464 µs |      0.702 [0.688, 0.716] |  0.0891 |  0.285 |  2.17 % | converged |             11 / 1 | attention/dense on simd  |
    | attention/window | naive  | 512 | f32       |          **wrong** |                 – |                         – |       – |      – |       – | –         |                  – | attention/dense on naive |

    ### 2 threads

    Constant: head_dim = 64.

    | variant          | engine |   n | precision |      median |           95 % CI |                ratio | GFLOP/s |   GB/s |    share | stop      | samples / rejected | baseline                      |
    | ---------------- | ------ | --: | --------- | ----------: | ----------------: | -------------------: | ------: | -----: | -------: | --------- | -----------------: | ----------------------------- |
    | attention/dense  | naive  | 128 | f32       |      164 µs |   162 µs … 165 µs |             baseline |  0.0156 |  0.200 |  0.100 % | converged |             11 / 1 | attention/dense on naive      |
    | attention/dense  | simd   | 128 | f32       |     41.0 µs | 40.6 µs … 41.4 µs |             baseline |  0.0625 |  0.800 |  0.400 % | converged |             11 / 1 | attention/dense on simd       |
    | attention/flash  | naive  | 128 | f32       |      116 µs |   115 µs … 117 µs | 0.706 [0.692, 0.720] |  0.0221 |  0.283 |  0.142 % | converged |             11 / 1 | attention/dense on naive      |
    | attention/flash  | simd   | 128 | f32       |     29.7 µs | 29.4 µs … 30.0 µs | 0.724 [0.710, 0.739] |  0.0863 |   1.10 |  0.552 % | converged |             11 / 1 | attention/dense on simd       |
    | attention/window | naive  | 128 | f32       |      165 µs |   163 µs … 167 µs | 1.01 [0.987, 1.03] † |  0.0155 |  0.199 | 0.0993 % | converged |             11 / 1 | attention/dense on naive      |
    | attention/dense  | naive  | 512 | f32       |     2.62 ms | 2.60 ms … 2.65 ms |             baseline |  0.0156 | 0.0500 |  0.262 % | converged |             11 / 1 | attention/dense on naive      |
    | attention/dense  | simd   | 512 | f32       |     **oom** |                 – |             baseline |       – |      – |        – | –         |                  – | attention/dense on simd (oom) |
    | attention/flash  | naive  | 512 | f32       |     1.84 ms | 1.82 ms … 1.85 ms | 0.700 [0.687, 0.715] |  0.0223 | 0.0714 |  0.375 % | converged |             11 / 1 | attention/dense on naive      |
    | attention/flash  | simd   | 512 | f32       |      460 µs |   455 µs … 464 µs |                    – |  0.0891 |  0.285 |   1.50 % | converged |             11 / 1 | attention/dense on simd (oom) |
    | attention/window | naive  | 512 | f32       | **crashed** |                 – |                    – |       – |      – |        – | –         |                  – | attention/dense on naive      |
    ");
}

#[test]
fn memory() {
    insta::assert_snapshot!(rendered_part("Memory"), @r"
    Three figures that are never added to each other. *declared*: what the engine says it holds, as weights + activations (inputs and output) + scratch + state (what outlives a call). *allocator peak*: the most that was allocated over preparing and one call, counted by the allocator. *high water*: the most resident memory of the fresh process, the program itself included. Ratios are cell over baseline: below 1 is smaller. *warm allocations* are those of one call after warm-up. A cell that was not accounted has its status in place of the first figure.

    ### 1 thread

    Constant: head_dim = 64.

    | variant          | engine |   n | precision |  declared |    ratio | weights | activations |  scratch | state | allocator peak |    ratio | high water |    ratio | warm allocations | baseline                 |
    | ---------------- | ------ | --: | --------- | --------: | -------: | ------: | ----------: | -------: | ----: | -------------: | -------: | ---------: | -------: | ---------------: | ------------------------ |
    | attention/dense  | naive  | 128 | f32       |  96.0 KiB | baseline |     0 B |    32.0 KiB | 64.0 KiB |   0 B |       96.0 KiB | baseline |   5.00 MiB | baseline |                0 | attention/dense on naive |
    | attention/dense  | simd   | 128 | f32       |  96.0 KiB | baseline |     0 B |    32.0 KiB | 64.0 KiB |   0 B |       96.0 KiB | baseline |   5.00 MiB | baseline |                0 | attention/dense on simd  |
    | attention/flash  | naive  | 128 | f32       |  36.0 KiB |    0.375 |     0 B |    32.0 KiB | 4.00 KiB |   0 B |       96.0 KiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on naive |
    | attention/flash  | simd   | 128 | f32       |  36.0 KiB |    0.375 |     0 B |    32.0 KiB | 4.00 KiB |   0 B |       96.0 KiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on simd  |
    | attention/window | naive  | 128 | f32       |  96.0 KiB |     1.00 |     0 B |    32.0 KiB | 64.0 KiB |   0 B |       96.0 KiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on naive |
    | attention/dense  | naive  | 512 | f32       |  1.12 MiB | baseline |     0 B |     128 KiB | 1.00 MiB |   0 B |       1.12 MiB | baseline |   5.00 MiB | baseline |                0 | attention/dense on naive |
    | attention/dense  | simd   | 512 | f32       |  1.12 MiB | baseline |     0 B |     128 KiB | 1.00 MiB |   0 B |       1.12 MiB | baseline |   5.00 MiB | baseline |                0 | attention/dense on simd  |
    | attention/flash  | naive  | 512 | f32       |   132 KiB |    0.115 |     0 B |     128 KiB | 4.00 KiB |   0 B |       1.12 MiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on naive |
    | attention/flash  | simd   | 512 | f32       |   132 KiB |    0.115 |     0 B |     128 KiB | 4.00 KiB |   0 B |       1.12 MiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on simd  |
    | attention/window | naive  | 512 | f32       | **wrong** |        – |       – |           – |        – |     – |              – |        – |          – |        – |                – | attention/dense on naive |

    ### 2 threads

    Constant: head_dim = 64.

    | variant          | engine |   n | precision |    declared |    ratio | weights | activations |  scratch | state | allocator peak |    ratio | high water |    ratio | warm allocations | baseline                      |
    | ---------------- | ------ | --: | --------- | ----------: | -------: | ------: | ----------: | -------: | ----: | -------------: | -------: | ---------: | -------: | ---------------: | ----------------------------- |
    | attention/dense  | naive  | 128 | f32       |    96.0 KiB | baseline |     0 B |    32.0 KiB | 64.0 KiB |   0 B |       96.0 KiB | baseline |   5.00 MiB | baseline |                0 | attention/dense on naive      |
    | attention/dense  | simd   | 128 | f32       |    96.0 KiB | baseline |     0 B |    32.0 KiB | 64.0 KiB |   0 B |       96.0 KiB | baseline |   5.00 MiB | baseline |                0 | attention/dense on simd       |
    | attention/flash  | naive  | 128 | f32       |    36.0 KiB |    0.375 |     0 B |    32.0 KiB | 4.00 KiB |   0 B |       96.0 KiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on naive      |
    | attention/flash  | simd   | 128 | f32       |    36.0 KiB |    0.375 |     0 B |    32.0 KiB | 4.00 KiB |   0 B |       96.0 KiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on simd       |
    | attention/window | naive  | 128 | f32       |    96.0 KiB |     1.00 |     0 B |    32.0 KiB | 64.0 KiB |   0 B |              – |        – |   5.00 MiB |     1.00 |                – | attention/dense on naive      |
    | attention/dense  | naive  | 512 | f32       |    1.12 MiB | baseline |     0 B |     128 KiB | 1.00 MiB |   0 B |       1.12 MiB | baseline |   5.00 MiB | baseline |                0 | attention/dense on naive      |
    | attention/dense  | simd   | 512 | f32       |     **oom** | baseline |       – |           – |        – |     – |              – | baseline |          – | baseline |                – | attention/dense on simd (oom) |
    | attention/flash  | naive  | 512 | f32       |     132 KiB |    0.115 |     0 B |     128 KiB | 4.00 KiB |   0 B |       1.12 MiB |     1.00 |   5.00 MiB |     1.00 |                0 | attention/dense on naive      |
    | attention/flash  | simd   | 512 | f32       |     132 KiB |        – |     0 B |     128 KiB | 4.00 KiB |   0 B |       1.12 MiB |        – |   5.00 MiB |        – |                0 | attention/dense on simd (oom) |
    | attention/window | naive  | 512 | f32       | **crashed** |        – |       – |           – |        – |     – |              – |        – |          – |        – |                – | attention/dense on naive      |
    ");
}

#[test]
fn accuracy() {
    insta::assert_snapshot!(rendered_part("Accuracy"), @r"
    *err_impl*: largest absolute error against the same variant in f64 on the same rounded inputs (what the implementation loses), and relative to the whole in the Frobenius norm. *tolerance used*: the largest error as a share of its bound; above 100 % the cell is wrong, and where less than 0.1 % is used the bound may be too loose to catch a fault. *err_method*: against the exact dense operation in f64 on the inputs as drawn (what the method loses), likewise. *cosine*: mean over the rows, between output and exact rows. *error ratio*: relative err_method over that of the plain dense operation at the same precision. *rows*: compared of all. *nonfinite*: output values that are NaN or infinite where the exact ones are not.

    ### 1 thread

    Constant: head_dim = 64.

    | variant          | engine |   n | precision | status       | err_impl | relative | tolerance used | err_method | relative |      cosine | error ratio |      rows | nonfinite | remark    |
    | ---------------- | ------ | --: | --------- | ------------ | -------: | -------: | -------------: | ---------: | -------: | ----------: | ----------: | --------: | --------: | --------- |
    | attention/dense  | naive  | 128 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |           |
    | attention/dense  | simd   | 128 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |           |
    | attention/flash  | naive  | 128 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |           |
    | attention/flash  | simd   | 128 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |           |
    | attention/window | naive  | 128 | f32       | **emulated** |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |           |
    | attention/dense  | naive  | 512 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 512 |         0 |           |
    | attention/dense  | simd   | 512 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 512 |         0 |           |
    | attention/flash  | naive  | 512 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 512 |         0 |           |
    | attention/flash  | simd   | 512 | f32       | ok           |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 512 |         0 |           |
    | attention/window | naive  | 512 | f32       | **wrong**    |  1.25e-7 |  3.00e-8 |          420 % |    2.50e-7 |  6.00e-8 |           – |        1.50 | 64 of 512 |     **2** | **wrong** |

    ### 2 threads

    Constant: head_dim = 64.

    | variant          | engine |   n | precision | status      | err_impl | relative | tolerance used | err_method | relative |      cosine | error ratio |      rows | nonfinite | remark                 |
    | ---------------- | ------ | --: | --------- | ----------- | -------: | -------: | -------------: | ---------: | -------: | ----------: | ----------: | --------: | --------: | ---------------------- |
    | attention/dense  | naive  | 128 | f32       | ok          |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |                        |
    | attention/dense  | simd   | 128 | f32       | ok          |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |                        |
    | attention/flash  | naive  | 128 | f32       | ok          |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |                        |
    | attention/flash  | simd   | 128 | f32       | ok          |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 |                        |
    | attention/window | naive  | 128 | f32       | ok          |  1.25e-7 |  3.00e-8 |       0.0200 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 128 |         0 | bound may be too loose |
    | attention/dense  | naive  | 512 | f32       | ok          |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 512 |         0 |                        |
    | attention/dense  | simd   | 512 | f32       | **oom**     |        – |        – |              – |          – |        – |           – |           – |         – |         – |                        |
    | attention/flash  | naive  | 512 | f32       | ok          |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 512 |         0 |                        |
    | attention/flash  | simd   | 512 | f32       | ok          |  1.25e-7 |  3.00e-8 |         25.0 % |    2.50e-7 |  6.00e-8 | 0.999999500 |        1.50 | 64 of 512 |         0 |                        |
    | attention/window | naive  | 512 | f32       | **crashed** |        – |        – |              – |          – |        – |           – |           – |         – |         – |                        |
    ");
}

/// What a process held on a device is shown where some cell has it; the processor's ceilings say nothing of such a cell.
#[test]
fn devices() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run-1"), folder.path().join("out"));
    let mut cells = vec![measured("a", "g", "attention/dense", 128, 1, 1000), measured("b", "g", "attention/dense", 128, 1, 500)];
    cells[1].engine = "candle-cuda".into();
    cells[1].memory.as_mut().unwrap().device_peak_bytes = Some(3 << 20);
    run_of(&run, &cells);
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    let shown = |title: &str, column: &str| -> Vec<String> {
        let rows = &tables(&part(&out, title))[0].rows;
        let mut shown: Vec<[String; 2]> = rows.iter().map(|row| [row["engine"].clone(), row[column].clone()]).collect();
        shown.sort();
        shown.into_iter().map(|[_, value]| value).collect()
    };
    assert_eq!(shown("Memory", "on the device"), ["3.00 MiB", "–"]);
    let shares = shown("Speed", "share");
    assert!(shares[0] == "–" && shares[1].ends_with('%'), "{shares:?}");
}

#[test]
fn csv() {
    let text = rendered("cells.csv");
    let first: Vec<&str> = text.split("\r\n").take(2).collect();
    insta::assert_snapshot!(first.join("\n"), @r"
    run,schema,id,group,experiment,family,variant,engine,baseline,status,reason,stderr_tail,support,finished_unix_ms,elapsed_ns,median_ns,ci_low_ns,ci_high_ns,min_ns,p95_ns,samples,rejected,warmup_calls,prepare_ns,stop,flops,bytes,threads_used,isa,beside_id,beside_median_ns,beside_ci_low_ns,beside_ci_high_ns,beside_samples,weight_bytes,activation_bytes,scratch_bytes,state_bytes,allocator_peak_bytes,warm_allocations,high_water_bytes,device_peak_bytes,err_impl,err_impl_rel,tolerance_used,err_method,err_method_rel,cosine,error_ratio,divergence,top_1_agreement,nonfinite,rows_checked,rows_total,derive_ns,transform_parameters_before,transform_parameters_after,transform_bytes_before,transform_bytes_after,transform_error,match_mode,match_share,match_target,match_cost,steal_ns,load_average,involuntary_switches,frequency_khz,energy_j,instructions,cycles,cache_misses,machine,build,head_dim,n,precision,threads
    run-1,6,g1-naive-dense,g1,attention-quick,attention,attention/dense,naive,true,ok,,,native,1700000000000,5,163840,162202,165478,155648,172032,11,1,3,77,converged,2560,32768,1,avx2,,,,,,0,32768,65536,0,98304,0,5242880,,1.25e-7,3e-8,0.25,2.5e-7,6e-8,0.9999995,1.5,,,0,64,128,,,,,,,,,,,,,,,,,,,machine1,build1,64,128,f32,1
    ");
}

/// Columns about classes appear where some output has them.
#[test]
fn classes() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run-1"), folder.path().join("out"));
    let mut cells = vec![measured("a", "g", "softmax/stable", 128, 1, 1000), measured("b", "g", "softmax/taylor", 128, 1, 500)];
    let accuracy = cells[1].accuracy.as_mut().unwrap();
    (accuracy.divergence, accuracy.top_1_agreement) = (Some(0.0025), Some(0.75));
    run_of(&run, &cells);
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    let accuracy = part(&out, "Accuracy");
    assert!(accuracy.contains("*first class*"), "{accuracy}");
    let rows = &tables(&accuracy)[0].rows;
    let shown = |row: usize| ["divergence", "first class", "rows"].map(|column| rows[row][column].as_str());
    assert_eq!((shown(0), shown(1)), (["–", "–", "64 of 128"], ["2.50e-3", "75.0 %", "64 of 128"]));
}

/// Columns about compressed weights appear where some cell has them; what is off its target is named.
#[test]
fn transforms_and_equal_cost() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run-1"), folder.path().join("out"));
    let mut cells = vec![measured("a", "g", "linear/dense", 128, 1, 1000), measured("b", "g", "linear/low-rank", 128, 1, 500)];
    cells[0].baseline = true;
    let saved = Saved { parameters_before: 1000, parameters_after: 250, bytes_before: 4000, bytes_after: 1000, error: Some(0.125) };
    cells[1].transform = Some(Transform { derive_ns: 2_500_000, saved: Some(saved) });
    cells[1].matching = Some(Matching { mode: "parameters".into(), share: 0.25, target: 1000, cost: 1100 });
    run_of(&run, &cells);
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    let memory = part(&out, "Memory");
    let rows = &tables(&memory)[0].rows;
    let shown = |row: usize| ["derived in", "parameters left", "bytes left", "weight error"].map(|column| rows[row][column].as_str());
    assert_eq!(shown(0), ["–", "–", "–", "–"]);
    assert_eq!(shown(1), ["2.50 ms", "25.0 %", "25.0 %", "1.25e-1"]);
    let summary = fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(summary.contains("matched at equal parameters (share 0.25): 1 cell, **1 more than 5 % off**"), "{summary}");
    assert!(summary.contains("+10.0 %"), "{summary}");
}
