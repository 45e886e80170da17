import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Threads, the compiler, the collector, files and a child process of the JVM. */
public class Threads {
    public static void main(String[] arguments) throws Exception {
        var pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> sums = new ArrayList<>();
        for (int i = 1; i <= 20; i++) {
            final int divisor = i;
            sums.add(pool.submit(() -> {
                long sum = 0;
                for (int j = 0; j < 200_000; j++) sum += j % divisor;
                return sum;
            }));
        }
        long total = 0;
        for (var sum : sums) total += sum.get();
        pool.shutdown();
        System.out.println(total);

        Path file = Files.createTempFile("osv", "java");
        Files.writeString(file, "written");
        System.out.println(Files.readString(file) + " " + Files.size(file));
        Files.delete(file);

        var child = new ProcessBuilder("/bin/sh", "-c", "cat; exit 3").start();
        try (var input = child.getOutputStream()) {
            input.write("through a child\n".getBytes());
        }
        System.out.print(new String(child.getInputStream().readAllBytes()));
        System.out.println(child.waitFor());

        byte[][] kept = new byte[100][];
        for (int i = 0; i < 3000; i++) kept[i % kept.length] = new byte[100_000];
        System.gc();
        try {
            Object nothing = null;
            nothing.toString();
        } catch (NullPointerException exception) {
            System.out.println("caught");
        }
    }
}
