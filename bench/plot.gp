# SPDX-License-Identifier: ISC
# Open time (PASS to +OK, and STAT) over mailbox size; run.sh gives data and
# output_file.  A block of data for each server: its title, then lines of size,
# first and second open in microseconds.
set terminal svg size 1000,520 font "sans,12" background rgb "white"
set output output_file
set logscale xy
set xlabel "messages in the mailbox"
set ylabel "milliseconds"
set format x "10^{%L}"
set format y "%g"
set grid
set key below horizontal
set style data linespoints
stats data using 1 nooutput name "D"
set xrange [D_min / 1.3 : D_max * 1.3]
set multiplot layout 1,2
set title "first open"
plot for [i = 0:D_blocks - 1] data index i using 1:($2 / 1000) \
    title columnheader(1) linewidth (i == 0 ? 3 : 1.5)
set title "second open"
plot for [i = 0:D_blocks - 1] data index i using 1:($3 / 1000) \
    title columnheader(1) linewidth (i == 0 ? 3 : 1.5)
unset multiplot
