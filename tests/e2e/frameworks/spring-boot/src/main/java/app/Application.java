package app;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.*;
import org.springframework.web.servlet.support.ServletUriComponentsBuilder;

@SpringBootApplication
@RestController
public class Application {
    public static void main(String[] args) {
        SpringApplication.run(Application.class, args);
    }

    @GetMapping("/")
    Map<String, String> home() {
        return Map.of("hello", "spring", "url", ServletUriComponentsBuilder.fromCurrentContextPath().toUriString());
    }

    @PostMapping("/sum")
    Map<String, Integer> sum(@RequestBody int[] numbers) {
        int sum = 0;
        for (int n : numbers) sum += n;
        return Map.of("sum", sum);
    }
}
