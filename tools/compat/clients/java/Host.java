import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.VerifiableConsumer;
import org.slf4j.LoggerFactory;

/**
 * Runs many of Kafka's VerifiableConsumers, and any number of Kafka's command-line tools one after the other, in one
 * virtual machine. It reads commands from standard input, one JSON object a line:
 *
 * {"op":"start","member":NAME,"topic":TOPIC,"config":{...}}   a VerifiableConsumer with these consumer configs
 * {"op":"stop","member":NAME}                                 closes it: the member leaves its group
 * {"op":"transform","member":NAME,"topic":TOPIC,"to":TOPIC,"count":N,"config":{...},"producer":{...}}
 *     copies N records in transactions, which commit the group's offsets too, and aborts as many; tells
 *     shutdown_complete at the end
 * {"op":"tool","class":CLASS,"args":[...]}                    runs the class's main method
 *
 * It writes lines of a member's name, a blank and the consumer's event; a tool's result has the name "tool".
 */
public final class Host {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = System.out;
    private static final Map<String, VerifiableConsumer> MEMBERS = new ConcurrentHashMap<>();

    private Host() {}

    /** Thrown in place of the end of the process. */
    private static final class Exited extends Error {
        final int status;

        Exited(int status) {
            this.status = status;
        }
    }

    /** Writes a consumer's events with its name, its member id and its generation. */
    private static final class Events extends PrintStream {
        private final String name;
        private final KafkaConsumer<String, String> consumer;

        Events(String name, KafkaConsumer<String, String> consumer) {
            super(System.err, true);
            this.name = name;
            this.consumer = consumer;
        }

        // Called on the consumer's own thread, as groupMetadata demands.
        @Override
        public void println(String event) {
            String more = "";
            if (event.contains("\"partitions_")) {
                ConsumerGroupMetadata group = consumer.groupMetadata();
                more = ",\"generation\":" + group.generationId() + ",\"member\":\"" + group.memberId() + "\"";
            }
            write(name, event.substring(0, event.length() - 1) + more + "}");
        }
    }

    private static void write(String name, String text) {
        synchronized (OUT) {
            OUT.println(name + " " + text);
            OUT.flush();
        }
    }

    private static void start(JsonNode command) {
        String name = command.get("member").asText();
        KafkaConsumer<String, String> consumer =
            new KafkaConsumer<>(properties(command.get("config")), new StringDeserializer(), new StringDeserializer());
        VerifiableConsumer member = new VerifiableConsumer(consumer, new Events(name, consumer),
            command.get("topic").asText(), -1, false, false, true);
        MEMBERS.put(name, member);
        new Thread(member::run, name).start();
    }

    private static Properties properties(JsonNode fields) {
        Properties properties = new Properties();
        fields.fields().forEachRemaining(e -> properties.put(e.getKey(), e.getValue().asText()));
        return properties;
    }

    /** After each transaction that is committed there is one of the same records, and other offsets, that is aborted. */
    private static void transform(JsonNode command) {
        String name = command.get("member").asText();
        String to = command.get("to").asText();
        int left = command.get("count").asInt();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(
                 properties(command.get("config")), new StringDeserializer(), new StringDeserializer());
             KafkaProducer<String, String> producer = new KafkaProducer<>(
                 properties(command.get("producer")), new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of(command.get("topic").asText()));
            while (left > 0) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) {
                    continue;
                }
                left -= records.count();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> r : records) {
                    offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                }
                for (String what : List.of("committed", "aborted")) {
                    producer.beginTransaction();
                    records.forEach(r ->
                        producer.send(new ProducerRecord<>(to, r.key(), what + " " + name + " " + r.value())));
                    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                    if (what.equals("committed")) {
                        producer.commitTransaction();
                    } else {
                        producer.flush(); // what is not sent yet would not be aborted
                        producer.abortTransaction();
                    }
                    offsets.replaceAll((partition, offset) -> new OffsetAndMetadata(0));
                }
            }
        }
        write(name, "{\"name\":\"shutdown_complete\"}");
    }

    private static void tool(JsonNode command) throws Exception {
        List<String> args = new ArrayList<>();
        command.get("args").forEach(a -> args.add(a.asText()));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        PrintStream errBefore = System.err;
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        int status = 0;
        left = null;
        try {
            Class.forName(command.get("class").asText()).getMethod("main", String[].class)
                .invoke(null, (Object) args.toArray(new String[0]));
        } catch (InvocationTargetException e) {
            if (left != null) {
                status = left;
            } else {
                status = -1;
                System.err.println(e.getCause());
            }
        } finally {
            System.setOut(OUT);
            System.setErr(errBefore);
        }
        write("tool", JSON.writeValueAsString(Map.of("status", status,
            "out", out.toString(StandardCharsets.UTF_8), "err", err.toString(StandardCharsets.UTF_8))));
    }

    /** The status that the tool has exited with first; null while it runs. */
    private static Integer left;

    /** Ends a tool. Some tools catch what this throws, report it, and exit again: nothing of that is heard. */
    private static void exit(int status) {
        if (left == null) {
            left = status;
            System.setOut(new PrintStream(OutputStream.nullOutputStream()));
            System.setErr(new PrintStream(OutputStream.nullOutputStream()));
        }
        throw new Exited(status);
    }

    public static void main(String[] ignored) throws Exception {
        LoggerFactory.getLogger(Host.class); // takes standard error as it is now: what it warns of is no tool's output
        Exit.setExitProcedure((status, message) -> exit(status));
        Exit.setHaltProcedure((status, message) -> exit(status));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode command = JSON.readTree(line);
            switch (command.get("op").asText()) {
                case "start" -> start(command);
                case "transform" -> new Thread(() -> transform(command)).start();
                case "tool" -> tool(command);
                case "stop" -> {
                    VerifiableConsumer member = MEMBERS.remove(command.get("member").asText());
                    new Thread(member::close).start();
                }
                default -> throw new IllegalArgumentException(line);
            }
        }
        Runtime.getRuntime().halt(0); // the test has gone; a kill is no leave
    }
}
