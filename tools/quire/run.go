package main

type runCmd struct{}
