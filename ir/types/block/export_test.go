package block

// PutScaleMins is what encoders of q4_k and q5_k write scales and minima with.
var PutScaleMins = putScaleMins
