// SPDX-License-Identifier: Apache-2.0
// Numbers FILE: threads that count primes and allocate; the sum goes to FILE.
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.ArrayList;
import java.util.List;

public class Numbers {
  static long primes(int from, int to) {
    long sum = 0;
    List<Integer> found = new ArrayList<>();
    for (int n = Math.max(2, from); n < to; n++) {
      boolean prime = true;
      for (int d = 2; (long) d * d <= n; d++) {
        if (n % d == 0) {
          prime = false;
          break;
        }
      }
      if (prime) found.add(n);
    }
    for (int n : found) sum += n;
    return sum;
  }

  public static void main(String[] arguments) throws Exception {
    var pool = Executors.newFixedThreadPool(4);
    List<Future<Long>> parts = new ArrayList<>();
    for (int i = 0; i < 350; i++) {
      final int from = i * 20000;
      parts.add(pool.submit(() -> primes(from, from + 20000)));
    }
    long sum = 0;
    for (var part : parts) sum += part.get();
    pool.shutdown();
    Files.writeString(Path.of(arguments[0]), sum + "\n");
  }
}
