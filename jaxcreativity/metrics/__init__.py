"""What was generated, measured: agreement of theory and network, novelty against the training set, realism.

`agreement` compares two sets of samples made from the same noise, `novelty` compares samples with the
training images (`neighbours` finds the nearest): copies of one image, blends of few (`hull`), samples that come twice
(`duplicates`), copied patches (`patch_novelty`). `realism` compares whole sets: Frechet and kernel distances, precision
and recall, density and coverage in a feature space (`features`), power spectra. `summary` has the quartiles and
intervals that they report.
"""
