// Threads, the collector, a child process and an exception from a fault, on Mono.
using System;
using System.Diagnostics;
using System.Threading;

class Program {
    static void Main() {
        int count = 0;
        var threads = new Thread[8];
        for (int i = 0; i < threads.Length; i++) {
            threads[i] = new Thread(() => {
                for (int j = 0; j < 10000; j++) Interlocked.Increment(ref count);
            });
            threads[i].Start();
        }
        foreach (var thread in threads) thread.Join();
        Console.WriteLine(count);

        long bytes = 0;
        for (int i = 0; i < 100; i++) bytes += new byte[1000000].Length;
        GC.Collect();
        Console.WriteLine(bytes);

        var child = Process.Start(new ProcessStartInfo("/bin/sh", "-c 'echo child; exit 3'") {
            RedirectStandardOutput = true, UseShellExecute = false,
        });
        Console.Write(child.StandardOutput.ReadToEnd());
        child.WaitForExit();
        Console.WriteLine(child.ExitCode);

        try {
            object nothing = null;
            Console.WriteLine(nothing.ToString());
        } catch (NullReferenceException) {
            Console.WriteLine("caught");
        }
    }
}
