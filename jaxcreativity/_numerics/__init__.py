"""Numerics that know no theory.

| module          | what it computes                                                                   |
|-----------------|------------------------------------------------------------------------------------|
| `arithmetic`    | products in full precision, a square root that is safe to differentiate            |
| `posterior`     | the posterior mean over weighted points                                            |
| `rows`          | products of a matrix with vectors, in chunks; the leading rows in full precision   |
| `streaming`     | the softmax-mean of more keys than memory holds, chunk by chunk, exactly           |
| `levels`        | coefficients that differ from noise level to noise level: one table, one look-up   |
| `spectral`      | functions of a symmetric matrix, differentiable where eigenvalues coincide         |
| `fourier`       | second moments of images under shifts, and filters that commute with them          |
| `hermite`       | Hermite polynomials of several variables                                           |
| `windows`       | which pixels a patch holds, and how to cut it out                                  |
| `exponential`   | a quick exponential                                                                |
| `batching`      | functions of which `jax.vmap` works off a group of examples at a time              |
| `linear_groups` | the linear ones of these, which can be transposed                                  |
"""
