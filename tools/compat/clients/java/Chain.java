import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * One process of a chain that is exactly once, to be killed. It reads one command from standard input, a JSON object:
 *
 * {"op":"produce","member":NAME,"topic":TOPIC,"partitions":N,"from":NUMBER,"producer":{...}}
 *     writes the numbers from NUMBER on, in transactions of some length, some of which it aborts
 * {"op":"chain","member":NAME,"topic":TOPIC,"to":TOPIC,"partitions":N,"config":{...},"producer":{...}}
 *     reads the numbers and writes what f makes of each, in transactions that commit the group's offsets too; some of
 *     them it aborts and does again
 *
 * It writes a line for each step, of the name and a JSON object: began, produced, ending, committed or aborted. An error
 * that no abort heals ends it; the next process with its name goes on.
 */
public final class Chain {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int BATCH_RECORDS = 50;

    private final String name;
    private final String to;
    private final int partitions;
    private final KafkaProducer<String, String> producer;

    private Chain(JsonNode command) {
        name = command.get("member").asText();
        to = command.get(command.has("to") ? "to" : "topic").asText();
        partitions = command.get("partitions").asInt();
        producer = new KafkaProducer<>(
            properties(command.get("producer")), new StringSerializer(), new StringSerializer());
        producer.initTransactions();
    }

    private static Properties properties(JsonNode fields) {
        Properties properties = new Properties();
        fields.fields().forEachRemaining(e -> properties.put(e.getKey(), e.getValue().asText()));
        return properties;
    }

    private void tell(String step, Object... fields) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("name", step);
        for (int i = 0; i < fields.length; i += 2) {
            event.put((String) fields[i], fields[i + 1]);
        }
        System.out.println(name + " " + JSON.valueToTree(event));
        System.out.flush();
    }

    private void produce(long from) throws InterruptedException {
        for (int n = 1; ; n++) {
            long end = from + 1 + ThreadLocalRandom.current().nextInt(40);
            tell("began", "from", from, "to", end);
            String error = null;
            try {
                producer.beginTransaction();
                for (long number = from; number < end; number++) {
                    producer.send(new ProducerRecord<>(to, (int) (number % partitions), null, "" + number));
                }
                if (n % 7 != 0) {
                    tell("ending");
                    producer.commitTransaction();
                    tell("committed", "from", from, "records", end - from);
                    from = end;
                    Thread.sleep(50);
                    continue;
                }
                producer.flush(); // what is not sent yet would not be aborted
                tell("ending");
            } catch (KafkaException e) {
                error = e.toString();
            }
            producer.abortTransaction(); // throws what no abort heals
            tell("aborted", "from", from, "records", end - from, "error", error);
            from = end;
        }
    }

    /** What f makes of one record: as many as the number's rest, each with another key, to partitions in turn. */
    private int transform(ConsumerRecord<String, String> r) {
        long number = Long.parseLong(r.value());
        int outputs = (int) (number % 3);
        for (int j = 0; j < outputs; j++) {
            producer.send(new ProducerRecord<>(to, (int) ((number / 3 + j) % partitions),
                "key-" + number % 17 + "-" + j, r.partition() + "/" + r.offset() + "/" + j + "/" + number));
        }
        return outputs;
    }

    private void chain(KafkaConsumer<String, String> consumer, String topic) {
        consumer.subscribe(List.of(topic));
        for (int n = 1; ; n++) {
            ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) {
                n--;
                continue;
            }
            String error = null;
            try {
                producer.beginTransaction();
                tell("began");
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                int outputs = 0;
                for (ConsumerRecord<String, String> r : records) {
                    outputs += transform(r);
                    offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                }
                tell("produced");
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                tell("ending");
                if (n % 5 != 0) {
                    producer.commitTransaction();
                    tell("committed", "records", records.count(), "outputs", outputs);
                    continue;
                }
                producer.flush();
            } catch (KafkaException e) {
                error = e.toString();
            }
            producer.abortTransaction();
            tell("aborted", "records", records.count(), "error", error);
            // Back to where the group is.
            consumer.committed(consumer.assignment()).forEach((partition, offset) ->
                consumer.seek(partition, offset == null ? 0 : offset.offset()));
        }
    }

    public static void main(String[] ignored) {
        try {
            JsonNode command = JSON.readTree(
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).readLine());
            Chain chain = new Chain(command);
            if (command.get("op").asText().equals("produce")) {
                chain.produce(command.get("from").asLong());
            }
            Properties config = properties(command.get("config"));
            config.put("isolation.level", "read_committed");
            config.put("max.poll.records", BATCH_RECORDS);
            chain.chain(new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer()),
                command.get("topic").asText());
        } catch (Throwable e) {
            System.err.println(e);
            Runtime.getRuntime().halt(1);
        }
    }
}
