package ir

import "math"

// RopeFreqs returns the dim/2 frequencies of a rope table: base^(-2i/dim),
// divided by the factors if given, then scaled. They are rounded to f32, as the
// reference implementations keep them.
//
// Llama 3.1's rule (its reference code, apply_scaling): wavelengths below
// original/high keep their frequency, above original/low have it divided by
// factor, and between the two are interpolated linearly in original/wavelength.
func RopeFreqs(a RopeTableAttrs) []float32 {
	out := make([]float32, a.Dim/2)
	for i := range out {
		f := 1 / math.Pow(a.Base, float64(2*i)/float64(a.Dim))
		if len(a.Factors) > 0 {
			f /= float64(a.Factors[i])
		}
		switch a.Scaling {
		case ScaleLinear:
			f /= a.Factor
		case ScaleLlama3:
			f = llama3Freq(f, a)
		}
		out[i] = float32(f)
	}
	return out
}

func llama3Freq(f float64, a RopeTableAttrs) float64 {
	wave := 2 * math.Pi / f
	orig := float64(a.Original)
	switch {
	case wave < orig/a.HighFreq:
		return f
	case wave > orig/a.LowFreq:
		return f / a.Factor
	}
	smooth := (orig/wave - a.LowFreq) / (a.HighFreq - a.LowFreq)
	return (1-smooth)*f/a.Factor + smooth*f
}
