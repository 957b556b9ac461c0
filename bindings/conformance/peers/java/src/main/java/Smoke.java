// Stock jnats, unmodified, against a server: URL and a .creds file as arguments; prints one line a check.
import io.nats.client.*;
import io.nats.client.api.*;
import io.nats.client.impl.Headers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;

public class Smoke {
    static void check(String what, boolean fine) {
        if (!fine) {
            System.out.println("FAILED " + what);
            System.exit(1);
        }
        System.out.println("ok " + what);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(Message message) {
        return new String(message.getData(), StandardCharsets.UTF_8);
    }

    public static void main(String[] args) throws Exception {
        Options options = new Options.Builder().server(args[0]).authHandler(Nats.credentials(args[1])).noReconnect().build();
        Duration wait = Duration.ofSeconds(5);
        try (Connection nc = Nats.connect(options)) {
            Subscription sub = nc.subscribe("java.plain");
            nc.publish("java.plain", new Headers().add("K", "v"), bytes("hello"));
            Message message = sub.nextMessage(wait);
            check("publish and subscribe", text(message).equals("hello") && message.getHeaders().getFirst("K").equals("v"));

            List<Subscription> workers = List.of(nc.subscribe("java.queue", "workers"), nc.subscribe("java.queue", "workers"));
            for (int i = 0; i < 100; i++) nc.publish("java.queue", bytes(String.valueOf(i)));
            nc.flush(wait);
            Set<String> taken = new HashSet<>();
            for (Subscription worker : workers)
                for (Message m = worker.nextMessage(Duration.ofMillis(200)); m != null; m = worker.nextMessage(Duration.ofMillis(200))) taken.add(text(m));
            check("queue group", taken.size() == 100);

            Dispatcher dispatcher = nc.createDispatcher(m -> nc.publish(m.getReplyTo(), bytes(text(m).toUpperCase())));
            dispatcher.subscribe("java.service");
            nc.flush(wait);
            check("request", text(nc.request("java.service", bytes("abc"), wait)).equals("ABC"));
            check("no responders", nc.request("java.nobody", bytes(""), wait) == null);

            JetStreamManagement jsm = nc.jetStreamManagement();
            jsm.addStream(StreamConfiguration.builder().name("JAVAJOBS").subjects("javajobs.>").retentionPolicy(RetentionPolicy.WorkQueue).build());
            JetStream js = nc.jetStream();
            long last = 0;
            for (int i = 0; i < 20; i++) last = js.publish("javajobs.a", bytes(String.valueOf(i))).getSeqno();
            check("stream and publish", last == 20);
            PublishOptions once = PublishOptions.builder().messageId("one").build();
            js.publish("javajobs.b", bytes("x"), once);
            check("duplicate", js.publish("javajobs.b", bytes("x"), once).isDuplicate());
            JetStreamSubscription pull = js.subscribe("javajobs.>", PullSubscribeOptions.builder().durable("workers").build());
            List<Message> messages = pull.fetch(21, wait);
            check("pull", messages.size() == 21);
            for (Message m : messages) m.ackSync(wait);
            check("ack", jsm.getStreamInfo("JAVAJOBS").getStreamState().getMsgCount() == 0);

            KeyValueManagement kvm = nc.keyValueManagement();
            kvm.create(KeyValueConfiguration.builder().name("JAVAKV").maxHistoryPerKey(3).build());
            KeyValue kv = nc.keyValue("JAVAKV");
            kv.put("a", "1");
            long revision = kv.update("a", bytes("2"), 1);
            check("key-value put, update, get", kv.get("a").getValueAsString().equals("2") && kv.get("a").getRevision() == revision);
            kv.create("b", bytes("x"));
            check("key-value keys", new TreeSet<>(kv.keys()).equals(new TreeSet<>(List.of("a", "b"))));
            kv.delete("a");
            check("key-value delete", kv.get("a") == null);
            check("key-value history", kv.history("a").size() == 3);
            kvm.delete("JAVAKV");
            jsm.deleteStream("JAVAJOBS");
        }
    }
}
