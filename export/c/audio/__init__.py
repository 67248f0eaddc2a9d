"""The audio path around a generated step: window, FFT, features, mask, overlap-add, in C99."""
