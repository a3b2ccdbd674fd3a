import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import moa.classifiers.core.driftdetection.ADWINChangeDetector;
import moa.classifiers.core.driftdetection.ChangeDetector;
import moa.classifiers.core.driftdetection.DDM;
import moa.classifiers.core.driftdetection.EDDM;
import moa.classifiers.core.driftdetection.HDDM_A_Test;
import moa.classifiers.core.driftdetection.HDDM_W_Test;
import moa.classifiers.core.driftdetection.PageHinkleyDM;

/**
 * MoaBench KEY FILE: CPU nanoseconds a value of one of MOA's detectors, warmed up, best of many runs. One detector a JVM,
 * as JMH forks: several in one would make the calls of the loop slow for all. The thread's CPU time: what the compiler
 * and the collector take is not counted.
 */
public final class MoaBench {
  private static ChangeDetector make(String key) {
    switch (key) {
      case "adwin": return new ADWINChangeDetector();
      case "ddm": return new DDM();
      case "eddm": return new EDDM();
      case "hddm-a": return new HDDM_A_Test();
      case "hddm-w": return new HDDM_W_Test();
      case "page-hinkley": return new PageHinkleyDM();
      default: throw new IllegalArgumentException(key);
    }
  }

  private static int run(ChangeDetector detector, double[] values) {
    int changes = 0;
    for (double value : values) {
      detector.input(value);
      if (detector.getChange()) {
        changes++;
        detector.resetLearning();
      }
    }
    return changes;
  }

  public static void main(String[] arguments) throws Exception {
    byte[] bytes = Files.readAllBytes(Path.of(arguments[1]));
    double[] values = new double[bytes.length / 8];
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer().get(values);
    ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    long best = Long.MAX_VALUE;
    int changes = 0;
    for (int round = 0; round < 25; round++) { // the first ones warm up
      ChangeDetector detector = make(arguments[0]);
      detector.prepareForUse();
      long start = threads.getCurrentThreadCpuTime();
      changes += run(detector, values);
      best = Math.min(best, threads.getCurrentThreadCpuTime() - start);
    }
    System.err.println(arguments[0] + ": " + changes / 25 + " changes");
    System.out.println(arguments[0] + " " + (double) best / values.length);
  }
}
