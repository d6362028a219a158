"""Offline command lines around `ptxtf.data`: make_phantoms, make_tfrecords, check_tfrecords."""
