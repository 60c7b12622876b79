"""What knows no theory: streaming softmax-means, functions of matrices, Fourier and Hermite tools, windows, batches."""
