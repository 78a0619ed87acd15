package main

type scoreCmd struct{}
