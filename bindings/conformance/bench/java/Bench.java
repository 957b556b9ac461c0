// The cases on jnats: `Bench CASE URL COUNT`, one JSON line.
import com.sun.management.OperatingSystemMXBean;
import io.nats.client.*;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;

public class Bench {
    static final byte[] PAYLOAD = new byte[128];
    static final Duration WAIT = Duration.ofSeconds(60);

    interface Round {
        void run(int count) throws Exception;
    }

    /** A message as the case wants it: its subject and its payload are looked at. */
    static void seen(Message message) {
        if (message == null || message.getData().length != PAYLOAD.length || message.getSubject().isEmpty()) {
            throw new IllegalStateException("not the message that was sent: " + message);
        }
    }

    /** At most so many outstanding, through its futures. */
    static <T> Round window(int most, Supplier<CompletableFuture<T>> once) {
        return count -> {
            Semaphore room = new Semaphore(most);
            AtomicReference<Throwable> failure = new AtomicReference<>();
            for (int i = 0; i < count; i++) {
                room.acquire();
                once.get().whenComplete((result, error) -> {
                    if (error != null) failure.set(error);
                    if (result instanceof Message message && message.getData().length != PAYLOAD.length) {
                        failure.set(new IllegalStateException("not the reply"));
                    }
                    room.release();
                });
            }
            room.acquire(most);
            if (failure.get() != null) throw new IllegalStateException(failure.get());
        };
    }

    static Round make(String name, Connection nc) throws Exception {
        JetStream js = nc.jetStream();
        switch (name) {
            case "pub":
                return count -> {
                    for (int i = 0; i < count; i++) nc.publish("bench.pub", PAYLOAD);
                    nc.flush(WAIT);
                };
            case "sub":
                Subscription sub = nc.subscribe("bench.sub");
                sub.setPendingLimits(-1, -1);
                nc.flush(WAIT);
                return count -> {
                    nc.publish("bench.flood", String.valueOf(count).getBytes(StandardCharsets.US_ASCII));
                    for (int i = 0; i < count; i++) seen(sub.nextMessage(WAIT));
                };
            case "req1":
                return count -> {
                    for (int i = 0; i < count; i++) seen(nc.request("bench.req", PAYLOAD, WAIT));
                };
            case "req256":
                return window(256, () -> nc.request("bench.req", PAYLOAD));
            case "jspub1":
                return count -> {
                    for (int i = 0; i < count; i++) js.publish("bench.js", PAYLOAD);
                };
            case "jspub256":
                return window(256, () -> js.publishAsync("bench.js", PAYLOAD));
            case "jspull":
                ConsumeOptions options = ConsumeOptions.builder().batchSize(500).build();
                IterableConsumer messages = nc.getConsumerContext("BENCH", "bench").iterate(options);
                return count -> {
                    for (int i = 0; i < count; i++) {
                        Message message = messages.nextMessage(WAIT);
                        seen(message);
                        message.ack();
                    }
                    nc.flush(WAIT);
                };
            default:
                throw new IllegalArgumentException("no case is called " + name);
        }
    }

    public static void main(String[] args) throws Exception {
        String name = args[0];
        int count = Integer.parseInt(args[2]);
        Arrays.fill(PAYLOAD, (byte) 'x');
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Round round = make(name, Nats.connect(new Options.Builder().server(args[1]).build()));
        round.run(count / 4);
        long begun = System.nanoTime();
        long cpu = system.getProcessCpuTime();
        round.run(count);
        double used = (system.getProcessCpuTime() - cpu) / 1e9;
        double seconds = (System.nanoTime() - begun) / 1e9;
        System.out.printf(
            Locale.ROOT,
            "{\"case\":\"%s\",\"ops\":%d,\"seconds\":%.6f,\"cpu_seconds\":%.6f}%n",
            name, count, seconds, used);
        System.exit(0);
    }
}
