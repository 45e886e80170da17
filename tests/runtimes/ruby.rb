# Threads, fork, pipes, the collector and JSON of Ruby.
require 'json'
puts((1..8).map { |n| Thread.new { (1..n * 1000).sum } }.map(&:value).inspect)
puts `echo child`
reader, writer = IO.pipe
child = fork { reader.close; writer.puts 'from the child'; exit 3 }
writer.close
Process.wait child
puts reader.read, $?.exitstatus
100.times { 'x' * 1_000_000 }
GC.start
puts JSON.generate('a' => [1, nil, 2.5])
Signal.trap('USR1') { puts 'signal' }
Process.kill 'USR1', Process.pid
sleep 0.01
