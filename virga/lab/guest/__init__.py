"""The guest image `tiny`: built from packages of the distribution, as a disk, as kernel and ramdisk, and as a tree."""
