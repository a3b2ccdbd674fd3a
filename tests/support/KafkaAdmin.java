// Topics for the tests: java -cp 'JARS/*' KafkaAdmin.java BROKER create NAME PARTITIONS [KEY=VALUE]... |
// create-all NAME:PARTITIONS... | delete NAME | delete-records NAME PARTITION OFFSET. A deletion returns when the topic is gone.
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

public class KafkaAdmin {
  static void create(Admin admin, String name, int partitions, List<String> settings) throws Exception {
    Map<String, String> configs = new HashMap<>();
    for (String setting : settings) configs.put(setting.split("=", 2)[0], setting.split("=", 2)[1]);
    admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
    while (true) {
      try {
        TopicDescription description = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        if (description.partitions().size() == partitions
            && description.partitions().stream().allMatch(p -> p.leader() != null && p.leader().id() >= 0)) return;
      } catch (ExecutionException e) {
        if (!(e.getCause() instanceof UnknownTopicOrPartitionException)) throw e;
      }
      Thread.sleep(50);
    }
  }

  static void delete(Admin admin, String name) throws Exception {
    admin.deleteTopics(List.of(name)).all().get();
    while (admin.listTopics().names().get().contains(name)) Thread.sleep(50);
  }

  public static void main(String[] a) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", a[0]);
    properties.put("default.api.timeout.ms", "30000");
    try (Admin admin = Admin.create(properties)) {
      switch (a[1]) {
        case "create-all" -> {
          for (String topic : Arrays.asList(a).subList(2, a.length))
            create(admin, topic.split(":")[0], Integer.parseInt(topic.split(":")[1]), List.of());
        }
        case "create" -> create(admin, a[2], Integer.parseInt(a[3]), Arrays.asList(a).subList(4, a.length));
        case "delete" -> delete(admin, a[2]);
        case "delete-records" ->
          admin.deleteRecords(Map.of(new TopicPartition(a[2], Integer.parseInt(a[3])),
                                     RecordsToDelete.beforeOffset(Long.parseLong(a[4])))).all().get();
        default -> throw new IllegalArgumentException(a[1]);
      }
    }
  }
}
