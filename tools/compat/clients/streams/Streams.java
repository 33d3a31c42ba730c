import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TopologyConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * One instance of a Kafka Streams application: Streams APPLICATION KEY=VALUE... with the configs of Kafka Streams.
 * It ends when its standard input does, and writes lines of the application's name, a blank and an event:
 *
 * {"name":"state","value":STATE}                   of KafkaStreams
 * {"name":"restored","key":STORE,"value":COUNT}    a store's partition was read from its changelog
 * {"name":"exception","value":TEXT}                a thread has ended; another takes its place, unless the broker
 *                                                  does not serve what was asked for: then the instance ends
 */
public final class Streams {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = System.out;
    private static final Serde<String> TEXT = Serdes.String();

    private Streams() {}

    private static KStream<String, String> words(StreamsBuilder builder) {
        return builder.stream("lines", Consumed.with(TEXT, TEXT)).flatMapValues(line -> List.of(line.split(" ")));
    }

    /** Gives the names of words, which a global table knows. */
    private static KStream<String, String> names(StreamsBuilder builder) {
        GlobalKTable<String, String> names = builder.globalTable("names", Consumed.with(TEXT, TEXT));
        return words(builder).join(names, (key, word) -> word, (word, name) -> name);
    }

    /** Counts words. Each count goes to a topic that keeps all, and to one that is compacted. */
    private static void count(KStream<String, String> words) {
        KStream<String, Long> counts = words
            .groupBy((key, word) -> word, Grouped.with("words", TEXT, TEXT))
            .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("store"))
            .toStream();
        counts.to("counts", Produced.with(TEXT, Serdes.Long()));
        counts.to("latest", Produced.with(TEXT, Serdes.Long()));
    }

    /** Joins two streams by key and time, inner and outer: pairs, and in the end what has remained alone. */
    private static void join(StreamsBuilder builder) {
        KStream<String, String> left = builder.stream("left", Consumed.with(TEXT, TEXT));
        KStream<String, String> right = builder.stream("right", Consumed.with(TEXT, TEXT));
        JoinWindows near = JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(200), Duration.ofHours(1));
        StreamJoined<String, String, String> text = StreamJoined.with(TEXT, TEXT, TEXT);
        KStream<String, String> inner = left.join(right, (l, r) -> "inner " + l + " " + r, near,
            text.withName("inner").withStoreName("inner"));
        KStream<String, String> outer = left.outerJoin(right, (l, r) -> "outer " + l + " " + r, near,
            text.withName("outer").withStoreName("outer"));
        inner.merge(outer).to("joined", Produced.with(TEXT, TEXT));
    }

    private static final class Restores implements StateRestoreListener {
        @Override
        public void onRestoreStart(TopicPartition changelog, String store, long start, long end) {}

        @Override
        public void onBatchRestored(TopicPartition changelog, String store, long end, long count) {}

        @Override
        public void onRestoreEnd(TopicPartition changelog, String store, long count) {
            write("restored", store, Long.toString(count));
        }
    }

    private static synchronized void write(String name, String key, String value) {
        try {
            OUT.println("streams " + JSON.writeValueAsString(Map.of("name", name, "key", key, "value", value)));
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        for (String arg : List.of(args).subList(1, args.length)) {
            String[] pair = arg.split("=", 2);
            config.put(pair[0], pair[1]);
        }
        // What a store is when nothing is said is decided here already.
        StreamsBuilder builder = new StreamsBuilder(new TopologyConfig(new StreamsConfig(config)));
        switch (args[0]) {
            case "wordcount" -> count(words(builder));
            case "namecount" -> count(names(builder));
            case "join" -> join(builder);
            default -> throw new IllegalArgumentException(args[0]);
        }
        KafkaStreams streams = new KafkaStreams(builder.build(config), config);
        streams.setGlobalStateRestoreListener(new Restores());
        streams.setStateListener((state, before) -> {
            write("state", "", state.toString());
            if (state == KafkaStreams.State.ERROR) {
                Runtime.getRuntime().halt(1);
            }
        });
        streams.setUncaughtExceptionHandler(e -> {
            StringBuilder all = new StringBuilder();
            for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                all.append(cause).append("; ");
            }
            write("exception", "", all.toString());
            return e.getCause() instanceof UnsupportedVersionException
                ? StreamThreadExceptionResponse.SHUTDOWN_CLIENT
                : StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
        while (System.in.read() >= 0) {
            // the test says nothing, it only leaves
        }
        streams.close();
    }
}
