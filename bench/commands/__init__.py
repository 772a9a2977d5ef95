"""The commands of `bench`: their words, and what each prints."""
