package main

type graphCmd struct{}
